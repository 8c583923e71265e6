/*
 * The operation checker runs one operation on the plain device and on every other device, and
 * compares the results. A trial is one call, described by its buffers. The checker allocates every
 * buffer in device memory between guard zones and poisons outputs; after the call it checks the
 * guards, the inputs and the results.
 */
#ifndef OPERATIONS_CHECKER_H
#define OPERATIONS_CHECKER_H

#include "nnmf/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MAX_CANDIDATES = 8, THREAD_COUNTS = 4 };

/* weights_backward has the most buffers: seven for every layer. */
enum { MAX_BUFFERS = 7 * MAX_WEIGHT_LAYERS };

typedef enum BufferRole {
    ABSENT, /* the operation is passed NULL */
    INPUT,
    OUTPUT,
    CHANGED, /* input and output */
} BufferRole;

typedef enum BufferKind {
    BYTES, /* identical on every device */
    FLOATS,
    DOUBLES, /* INPUT or CHANGED */
    TOTALS,  /* a Totals: sums may differ by rounding, counts must not differ */
} BufferKind;

typedef struct Buffer {
    const char *name;
    BufferRole role;
    BufferKind kind;
    size_t bytes;
    void *before;   /* contents before the call; NULL for OUTPUT */
    double typical; /* FLOATS, DOUBLES: errors are relative to the size of the result or to this,
                       whichever is larger; the size of the terms if they may cancel */
} Buffer;

typedef struct Trial Trial;
struct Trial {
    char shape[200];       /* for messages */
    const void *arguments; /* of the call, besides the buffers */
    void (*call)(const Operations *, Backend *, const void *arguments, void *const *buffers);
    /* Checks the buffers after the call; returns what is wrong, or NULL. May be NULL. */
    const char *(*verify)(const Trial *, void *const *after);
    bool has_nan; /* results may be NaN, exactly where those of the plain version are */
    int count;
    Buffer buffers[MAX_BUFFERS];
};

/* A device to check. */
typedef struct Candidate Candidate;
struct Candidate {
    const char *name;
    bool (*open)(const Candidate *, int threads, Device *device, Error *error);
    CudaOptions cuda;
    const Operations *table; /* of a device made up by a test */
};

typedef struct Worst {
    double norm, element;
} Worst;

typedef struct Checker Checker;

/* One operation: how it is checked, and the maximum errors. Rounding to float32 has a relative
 * error of 6e-8, and sums and iterations a small multiple of it; the limits are three to five times
 * the errors of the CPU versions. Copying and counting are exact. Operations that depend on the
 * precision of products have separate limits for TF32, which rounds operands to 5e-4; twenty
 * iterations of NNMF have four times that error. */
typedef struct OperationCase {
    const char *name;
    void (*check)(Checker *);
    double norm;    /* ||result - plain|| / ||plain|| */
    double element; /* maximum of |result - plain| / max(root mean square of plain, |plain|) */
    double tf32_norm, tf32_element; /* with PRECISION_TF32; 0: does not depend on the precision,
                                       which is not tested */
} OperationCase;

struct Checker {
    uint64_t seed;
    bool quick, quiet;
    Device plain; /* uses host memory, so its operations also prepare inputs */
    int candidate_count;
    Candidate candidates[MAX_CANDIDATES];
    Device devices[MAX_CANDIDATES][THREAD_COUNTS];

    const OperationCase *now; /* the current operation */
    uint32_t case_number, trial_number, draws;
    Worst worst[OPERATION_COUNT][MAX_CANDIDATES];
    unsigned failures, shortages; /* shortages: correctly reported lacks of memory */
    char message[512];            /* of the first failure */
};

/* Opens the plain device and all others; false after printing the reason. */
bool checker_open(Checker *checker, uint64_t seed, bool quick);
void checker_close(Checker *checker);

/* Replaces all devices by one, to test the checker itself. */
bool checker_only(Checker *checker, const Candidate *candidate);

/* Runs a case and adds its failures to checker->failures. */
void checker_run(Checker *checker, const OperationCase *operation, uint32_t number);

/* Return random numbers that depend on the seed, the case and the previous calls. */
double uniform(Checker *checker, double low, double high);
int between(Checker *checker, int low, int high); /* both inclusive */

/* Adds a buffer and returns its contents to fill in, initially zero; NULL for an OUTPUT. */
void *trial_bytes(Trial *trial, const char *name, BufferRole role, BufferKind kind, size_t bytes);
float *trial_floats(Trial *trial, const char *name, BufferRole role, size_t count);
/* Adds an INPUT of random floats. */
float *trial_random(Checker *checker, Trial *trial, const char *name, size_t count, double low,
                    double high);
void trial_absent(Trial *trial, const char *name);
/* Adds an OUTPUT of floats; `typical`: the size of the terms that it sums. */
void trial_result(Trial *trial, const char *name, size_t count, double typical);

/* Runs the trial on all devices, compares the results and frees the buffers. */
void check_trial(Checker *checker, Trial *trial);

/* Returns the root mean square of the values that are not NaN. */
double rms(const float *values, size_t count);

/* Allocates zeroed memory; aborts if there is none. */
void *must_allocate(size_t bytes);

/* Numbers of outputs, channels or classes beyond what most versions are designed for. */
enum { MANY = 5 };
extern const int many[MANY];

/* Returns the number of random shapes of a case: `trials`, or in a quick run trials / share. */
int random_trials(const Checker *checker, int trials, int share);

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* A family of operations (nnmf/operations.h). Its file has the cases of its operations, and tests
 * of the plain version against finite differences or a second implementation. */
typedef struct OperationFamily {
    const OperationCase *cases;
    int case_count;
    const struct CMUnitTest *tests;
    int test_count;
} OperationFamily;

#define DECLARE_FAMILY(family) extern const OperationFamily family##_family;
OPERATION_FAMILIES(DECLARE_FAMILY)
#undef DECLARE_FAMILY

#endif
