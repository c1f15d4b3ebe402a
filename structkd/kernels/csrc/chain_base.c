/* The operations for every processor that the compiler knows: two doubles at a time. */
#define LANES 2
#define OPERATIONS structkd_base
#define OPERATIONS_NAME "base"
#include "operations.h"
