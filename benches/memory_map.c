// The least that a loader can do: token shards mapped into memory, sequences in a shuffled order, inputs and targets of a
// batch widened to int as llm.c's dataloader does. Nothing is verified.
//
//     memory_map SEQUENCE_TOKENS RANK RANKS SHARD...
//
// Takes every RANKS-th sequence from RANK on, and prints tokens, seconds and the sum of their ids as JSON.

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HEADER_BYTES = 1024, BATCH = 16 };

static const uint16_t *mapped(const char *path, size_t *tokens) {
    int file = open(path, O_RDONLY);
    struct stat info;
    if (file < 0 || fstat(file, &info) != 0) { perror(path); exit(1); }
    char *start = mmap(NULL, info.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (start == MAP_FAILED) { perror(path); exit(1); }
    close(file);
    *tokens = (info.st_size - HEADER_BYTES) / sizeof(uint16_t);
    return (const uint16_t *)(start + HEADER_BYTES);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static uint64_t drawn(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

int main(int argc, char **argv) {
    if (argc < 5) { fprintf(stderr, "memory_map SEQUENCE_TOKENS RANK RANKS SHARD...\n"); return 2; }
    const size_t t = atoi(argv[1]), rank = atoi(argv[2]), ranks = atoi(argv[3]);
    const uint16_t **sequences = NULL;
    size_t count = 0;
    double start = now();
    for (int i = 4; i < argc; i++) {
        size_t tokens;
        const uint16_t *shard = mapped(argv[i], &tokens);
        size_t of_shard = (tokens - 1) / t;
        sequences = realloc(sequences, (count + of_shard) * sizeof *sequences);
        for (size_t s = 0; s < of_shard; s++) sequences[count++] = shard + s * t;
    }
    uint64_t state = 42;
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = drawn(&state) % (i + 1);
        const uint16_t *swap = sequences[i];
        sequences[i] = sequences[j];
        sequences[j] = swap;
    }
    int *inputs = malloc(BATCH * t * sizeof *inputs), *targets = malloc(BATCH * t * sizeof *targets); // [B, T]
    int64_t checksum = 0;
    size_t taken = 0;
    for (size_t i = rank; i < count;) {
        size_t b = 0;
        for (; b < BATCH && i < count; b++, i += ranks) {
            for (size_t k = 0; k < t; k++) {
                inputs[b * t + k] = sequences[i][k];
                targets[b * t + k] = sequences[i][k + 1];
            }
        }
        // All T+1 tokens of each sequence: the first is no target.
        for (size_t k = 0; k < b * t; k++) checksum += targets[k];
        for (size_t k = 0; k < b * t; k += t) checksum += inputs[k];
        taken += b * t;
    }
    printf("{\"tokens\": %zu, \"seconds\": %.6f, \"checksum\": %lld}\n", taken, now() - start, (long long)checksum);
    return 0;
}
