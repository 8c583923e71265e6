/*
 * The operation checker: runs one operation on the plain device and on every other, and compares.
 * A trial is one call, described by its buffers; the checker lays every buffer between guard
 * zones in the device's own memory, poisons what is written, and after the call looks at the
 * guards, at what must not have changed and at the results.
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

/* The seven of the weights of all layers are the most that an operation has. */
enum { MAX_BUFFERS = 7 * MAX_WEIGHT_LAYERS };

typedef enum BufferRole {
    ABSENT, /* the operation gets NULL */
    INPUT,
    OUTPUT,
    CHANGED, /* in and out */
} BufferRole;

typedef enum BufferKind {
    BYTES, /* the same on every device */
    FLOATS,
    DOUBLES, /* INPUT or CHANGED */
    TOTALS,  /* the sums may differ in rounding, the counts may not */
} BufferKind;

typedef struct Buffer {
    const char *name;
    BufferRole role;
    BufferKind kind;
    size_t bytes;
    void *before; /* contents before the call; NULL for OUTPUT */
    double
        typical; /* FLOATS, DOUBLES: errors are relative to the result's size or to this, whichever
                    is larger; the size of the terms where they may cancel each other */
} Buffer;

typedef struct Trial Trial;
struct Trial {
    char shape[200];       /* for messages */
    const void *arguments; /* of the call, besides the buffers */
    void (*call)(const Operations *, Backend *, const void *arguments, void *const *buffers);
    /* What else must hold afterwards; NULL: nothing. Returns what does not hold, or NULL. */
    const char *(*verify)(const Trial *, void *const *after);
    bool has_nan; /* results may be NaN, where the plain version's are and nowhere else */
    int count;
    Buffer buffers[MAX_BUFFERS];
};

/* A device to check. */
typedef struct Candidate Candidate;
struct Candidate {
    const char *name;
    bool (*open)(const Candidate *, int threads, Device *device, Error *error);
    CudaOptions cuda;
    const Operations *table; /* for one that is made up by a test */
};

typedef struct Worst {
    double norm, element;
} Worst;

typedef struct Checker Checker;

/* One operation: how it is checked, and the largest errors that are allowed. A float32 rounds to
 * 6e-8; what sums or iterates has a small multiple of it. All are three to five times what the CPU
 * versions show; copying and counting are exact. Where the precision of products matters, the same
 * for TF32 follows, whose operands round to 5e-4: twenty iterations of NNMF make four times that of
 * it. */
typedef struct OperationCase {
    const char *name;
    void (*check)(Checker *);
    double norm;    /* ||result - plain|| / ||plain|| */
    double element; /* largest |result - plain| / max(root mean square of plain, |plain|) */
    double tf32_norm, tf32_element; /* with PRECISION_TF32; 0: the precision changes nothing, and is
                                       not tried */
} OperationCase;

struct Checker {
    uint64_t seed;
    bool quick, quiet;
    Device plain; /* its memory is the host's, so that its operations also prepare inputs */
    int candidate_count;
    Candidate candidates[MAX_CANDIDATES];
    Device devices[MAX_CANDIDATES][THREAD_COUNTS];

    const OperationCase *now; /* the operation at hand */
    uint32_t case_number, trial_number, draws;
    Worst worst[OPERATION_COUNT][MAX_CANDIDATES];
    unsigned failures, shortages; /* shortages: failures of memory that were reported as such */
    char message[512];            /* of the first failure */
};

/* Opens the plain device and all others; false after printing why not. */
bool checker_open(Checker *checker, uint64_t seed, bool quick);
void checker_close(Checker *checker);

/* Replaces all devices by one, for the test of the checker itself. */
bool checker_only(Checker *checker, const Candidate *candidate);

/* Runs a case; its failures are added to checker->failures. */
void checker_run(Checker *checker, const OperationCase *operation, uint32_t number);

/* Numbers that depend on the seed, the case and the calls before. */
double uniform(Checker *checker, double low, double high);
int between(Checker *checker, int low, int high); /* both inclusive */

/* Adds a buffer and returns its contents to fill in (zero until then), NULL for an OUTPUT. */
void *trial_bytes(Trial *trial, const char *name, BufferRole role, BufferKind kind, size_t bytes);
float *trial_floats(Trial *trial, const char *name, BufferRole role, size_t count);
/* An INPUT of random floats. */
float *trial_random(Checker *checker, Trial *trial, const char *name, size_t count, double low,
                    double high);
void trial_absent(Trial *trial, const char *name);
/* An OUTPUT with the size of the terms that make it up. */
void trial_result(Trial *trial, const char *name, size_t count, double typical);

/* Runs the trial everywhere, compares, and frees its buffers. */
void check_trial(Checker *checker, Trial *trial);

/* Root mean square of those that are not NaN. */
double rms(const float *values, size_t count);

/* malloc that does not return without memory. */
void *must_allocate(size_t bytes);

/* Outputs, channels or classes, beyond what most versions are made for; by few of everything else.
 */
enum { MANY = 5 };
extern const int many[MANY];

/* How many random shapes a case tries: `trials`, in a quick run one in `share` of them. */
int random_trials(const Checker *checker, int trials, int share);

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* A family of operations (nnmf/operations.h): its file has the cases of its operations, and tests
 * of the plain version against differences or a second implementation. */
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
