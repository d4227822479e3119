/*
 * Threads for the runtime, on machines that have them: a team that sleeps between calls. POSIX threads, C11 atomics.
 */
#ifndef WAGE_POOL_H
#define WAGE_POOL_H

#include "wage_net.h"

typedef struct wage_pool wage_pool;
typedef struct wage_barrier wage_barrier;

wage_barrier *wage_barrier_new(int32_t count); /* NULL: no memory */
void wage_barrier_free(wage_barrier *barrier);
void wage_barrier_wait(void *barrier); /* returns when `count` threads have called it */

/* The caller and threads - 1 more. NULL where they cannot be had. */
wage_pool *wage_pool_open(int32_t threads);
void wage_pool_close(wage_pool *pool);

/* The functions of wage_net.h, by all threads of the pool. One call at a time. */
void wage_pool_pack(wage_pool *pool, const wage_net *net, const wage_state *state, int32_t training);
int32_t wage_pool_infer(wage_pool *pool, const wage_net *net, const wage_state *state, const uint8_t *images,
                        int32_t count);
int32_t wage_pool_train_step(wage_pool *pool, const wage_net *net, const wage_state *state, const uint8_t *images,
                             const int32_t *labels, int32_t count);

#endif
