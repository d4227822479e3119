/* A team of threads: between two calls they sleep, within one they wait for each other by spinning, then by sleeping. */
#include "wage_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SPINS = 4000 }; /* some ten microseconds: longer than the waits within a call, shorter than those between two */

struct wage_barrier {
    atomic_int arrived, generation;
    int32_t count;
    pthread_mutex_t mutex;
    pthread_cond_t passed;
};

typedef struct job {
    const wage_net *net; /* NULL: the pool closes */
    const wage_state *state;
    const uint8_t *images;
    const int32_t *labels;
    int32_t count, training;
} job;

typedef struct member {
    wage_pool *pool;
    wage_team team;
    pthread_t thread;
} member;

struct wage_pool {
    wage_barrier *barrier;
    job job;
    int32_t threads;
    member members[];
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

wage_barrier *wage_barrier_new(int32_t count) {
    wage_barrier *barrier = malloc(sizeof *barrier);
    if (!barrier) return NULL;
    atomic_init(&barrier->arrived, 0);
    atomic_init(&barrier->generation, 0);
    barrier->count = count;
    pthread_mutex_init(&barrier->mutex, NULL);
    pthread_cond_init(&barrier->passed, NULL);
    return barrier;
}

void wage_barrier_free(wage_barrier *barrier) {
    if (!barrier) return;
    pthread_cond_destroy(&barrier->passed);
    pthread_mutex_destroy(&barrier->mutex);
    free(barrier);
}

void wage_barrier_wait(void *given) {
    wage_barrier *barrier = given;
    const int generation = atomic_load(&barrier->generation);
    if (atomic_fetch_add(&barrier->arrived, 1) + 1 == barrier->count) {
        atomic_store(&barrier->arrived, 0);
        pthread_mutex_lock(&barrier->mutex);
        atomic_fetch_add(&barrier->generation, 1);
        pthread_cond_broadcast(&barrier->passed);
        pthread_mutex_unlock(&barrier->mutex);
        return;
    }
    for (int i = 0; i < SPINS; ++i) {
        if (atomic_load(&barrier->generation) != generation) return;
        relax();
    }
    pthread_mutex_lock(&barrier->mutex);
    while (atomic_load(&barrier->generation) == generation) pthread_cond_wait(&barrier->passed, &barrier->mutex);
    pthread_mutex_unlock(&barrier->mutex);
}

static int32_t run(const job *job, const wage_team *team) {
    if (job->labels) return wage_train_step(job->net, job->state, job->images, job->labels, job->count, team);
    if (job->images) return wage_infer(job->net, job->state, job->images, job->count, team);
    wage_pack(job->net, job->state, job->training, team);
    return WAGE_OK;
}

static void *work(void *given) {
    member *self = given;
    for (;;) {
        wage_barrier_wait(self->pool->barrier);
        if (!self->pool->job.net) return NULL;
        (void)run(&self->pool->job, &self->team);
        wage_barrier_wait(self->pool->barrier);
    }
}

static int32_t run_all(wage_pool *pool, job job) {
    pool->job = job;
    wage_barrier_wait(pool->barrier);
    const int32_t status = run(&pool->job, &pool->members[0].team);
    wage_barrier_wait(pool->barrier);
    return status;
}

void wage_pool_close(wage_pool *pool) {
    if (!pool) return;
    pool->job.net = NULL;
    wage_barrier_wait(pool->barrier);
    for (int32_t i = 1; i < pool->threads; ++i) pthread_join(pool->members[i].thread, NULL);
    wage_barrier_free(pool->barrier);
    free(pool);
}

wage_pool *wage_pool_open(int32_t threads) {
    wage_pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof pool->members[0]);
    if (!pool) return NULL;
    pool->barrier = wage_barrier_new(threads);
    if (!pool->barrier) {
        free(pool);
        return NULL;
    }
    for (int32_t i = 0; i < threads; ++i) {
        member *self = &pool->members[i];
        self->pool = pool;
        self->team = (wage_team){i, threads, wage_barrier_wait, pool->barrier};
        if (i > 0 && pthread_create(&self->thread, NULL, work, self) != 0) {
            pool->barrier->count = i; /* those that are there wait for the missing ones: let them go */
            pool->threads = i;
            wage_pool_close(pool);
            return NULL;
        }
    }
    pool->threads = threads;
    return pool;
}

void wage_pool_pack(wage_pool *pool, const wage_net *net, const wage_state *state, int32_t training) {
    (void)run_all(pool, (job){net, state, NULL, NULL, 0, training});
}

int32_t wage_pool_infer(wage_pool *pool, const wage_net *net, const wage_state *state, const uint8_t *images,
                        int32_t count) {
    return run_all(pool, (job){net, state, images, NULL, count, 0});
}

int32_t wage_pool_train_step(wage_pool *pool, const wage_net *net, const wage_state *state, const uint8_t *images,
                             const int32_t *labels, int32_t count) {
    return run_all(pool, (job){net, state, images, labels, count, 1});
}
