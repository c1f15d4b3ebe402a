/* All operations for one instruction set: LANES and OPERATIONS (the name of the table) are defined before. */
#include "structkd.h"
#include "vector.h"

#include "scores.h"
#include "sweep.h"

#include "expectations.h"

#include "best_paths.h"

const instruction_set OPERATIONS = {
    .name = OPERATIONS_NAME,
    .lanes = LANES,
    .matrix = matrix,
    .ends = ends,
    .pad = pad_matrix,
    .gaps = score_gaps,
    .expectations = expectations,
    .match = match,
    .directional = directional,
    .topk = topk,
    .sample = sample,
};
