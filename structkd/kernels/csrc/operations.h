/* All operations for one instruction set: LANES and OPERATIONS (the name of the table) are defined before. */
#include "structkd.h"
#include "vector.h"

#include "scores.h"
#include "sweep.h"

#include "expectations.h"

#if LANES > 2
#include "lanes.h"

#include "group.h"

#include "group_expectations.h"
#endif

#include "best_paths.h"

const instruction_set OPERATIONS = {
    .name = OPERATIONS_NAME,
    .lanes = LANES,
    .matrix = matrix,
    .ends = ends,
    .pad = pad_matrix,
    .gaps = score_gaps,
    .one = {[EXPECTATIONS] = expectations, [MATCH] = match, [DIRECTIONAL] = directional, [SAMPLE] = sample},
    .many[TOPK] = topk,
#if LANES > 2 /* two lanes are filled by the tags of one sentence well enough */
    .many[EXPECTATIONS] = all_expectations,
    .many[MATCH] = all_expectations,
    .many[DIRECTIONAL] = all_directional,
#endif
};
