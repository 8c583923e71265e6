#include "run/report.h"

#include "base/time.h"
#include "base/version.h"
#include "run/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PUBLISHED_EPOCHS = 370 };

static bool is_silent(const Report *r)
{
    return r->quiet && r->format == LOG_TEXT;
}

static double percent(uint64_t part, size_t whole)
{
    return 100.0 * (double)part / (double)whole;
}

bool report_json(json_t *object, Error *error)
{
    int failed = object ? json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17)) : -1;
    json_decref(object);
    if (failed && !ferror(stdout))
        return fail(error,
                    "cannot write JSON: out of memory, or a name is not UTF-8: --log-format json");
    fputc('\n', stdout);
    output_flush();
    return true;
}

bool report_start(const Report *r, const TrainingState *state, Error *error)
{
    if (r->format == LOG_JSON)
        return report_json(
            json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:b, s:I, s:I, s:s}", "event",
                      "start", "version", NNMF_VERSION, "device", r->device, "dataset", r->dataset,
                      "train_images", (json_int_t)r->train_images, "test_images",
                      (json_int_t)r->test_images, "batch_size", r->batch_size, "steps",
                      (json_int_t)r->steps, "epochs", (json_int_t)r->epochs, "resumed", r->resumed,
                      "epoch", (json_int_t)state->epoch, "step", (json_int_t)state->step, "folder",
                      r->folder),
            error);
    if (is_silent(r))
        return true;
    network_print(r->network, stdout);
    printf("Device: %s\nData: %s, %zu training and %zu test images, batches of %d\nRun: %s\n",
           r->device, r->dataset, r->train_images, r->test_images, r->batch_size, r->folder);
    output_flush();
    return true;
}

void report_duration(const Report *r, double step_seconds)
{
    if (r->quiet || r->format == LOG_JSON)
        return;
    bool longer = r->epochs > PUBLISHED_EPOCHS;
    double test_share = 0.9; /* time of a test batch over that of a training step */
    double epoch = step_seconds * (r->steps + test_share * r->test_steps);
    int64_t epochs = longer ? PUBLISHED_EPOCHS : r->epochs;
    char text[32];
    printf("Expected: about %s for %" PRId64 " epoch%s%s (%.3f s a step)\n",
           duration_text(epoch * (double)epochs, text), epochs, epochs == 1 ? "" : "s",
           longer ? ", the length of the published run" : "", step_seconds);
    output_flush();
}

bool report_epoch(const Report *r, const EpochResult *result, Error *error)
{
    const double *rates = result->learning_rates;
    if (r->format == LOG_JSON)
        return report_json(json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:f}", "event",
                                     "epoch", "epoch", (json_int_t)result->epoch, "lr_cnn_top",
                                     rates[GROUP_CNN_TOP], "lr_nnmf", rates[GROUP_NNMF],
                                     "lr_batchnorm", rates[GROUP_BATCHNORM], "train_loss",
                                     result->train_loss, "train_correct",
                                     (json_int_t)result->train_correct, "test_correct",
                                     (json_int_t)result->test_correct, "train_seconds",
                                     result->train_seconds, "test_seconds", result->test_seconds),
                           error);
    if (is_silent(r))
        return true;
    printf("\nEpoch: %" PRIu32 "\nActual lr:", result->epoch);
    for (int i = 0; i < GROUPS; i++)
        printf("  %.4e", rates[i]);
    printf("\nTraining: Loss=%.5f Correct=%.2f%%\n", result->train_loss,
           percent(result->train_correct, r->train_images));
    printf("Testing: Correct=%.2f%%\n", percent(result->test_correct, r->test_images));
    printf("Time: Training=%.1fsec, Testing=%.1fsec\n", result->train_seconds,
           result->test_seconds);
    output_flush();
    return true;
}

/* Reports results only once an epoch is complete. */
static bool end_as_json(const Report *r, const TrainingState *state, const char *reason, int signal,
                        Error *error)
{
    json_t *object = json_pack("{s:s, s:s, s:i, s:I, s:I, s:s}", "event", "end", "reason", reason,
                               "signal", signal, "epoch", (json_int_t)state->epoch, "step",
                               (json_int_t)state->step, "folder", r->folder);
    json_t *results =
        state->epoch > 0 ? json_pack("{s:I, s:I, s:I}", "best_epoch", (json_int_t)state->best_epoch,
                                     "best_correct", (json_int_t)state->best_correct,
                                     "last_correct", (json_int_t)state->last_correct)
                         : json_object();
    if (json_object_update(object, results) != 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(results);
    return report_json(object, error);
}

/* Prints an option's value as a shell word, quoted if needed. */
static void print_value(const char *value)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        "_@%+=:,./-";
    putchar(strncmp(value, "--", 2) == 0 ? '=' : ' ');
    if (strspn(value, plain) == strlen(value)) {
        printf("%s\n", value);
        return;
    }
    putchar('\'');
    for (const char *at = value; *at; at++)
        *at == '\'' ? fputs("'\\''", stdout) : putchar(*at);
    puts("'");
}

bool report_end(const Report *r, const TrainingState *state, bool ended, int signal, Error *error)
{
    if (r->format == LOG_JSON)
        return end_as_json(r, state,
                           !ended   ? "done"
                           : signal ? "signal"
                                    : "max-steps",
                           signal, error);
    if (is_silent(r))
        return true;
    if (state->epoch > 0)
        printf("\nBest: %.2f%% after epoch %" PRIu32 ", last: %.2f%%\nFiles: %s\n",
               percent(state->best_correct, r->test_images), state->best_epoch,
               percent(state->last_correct, r->test_images), r->folder);
    if (ended) {
        printf("\nStopped in epoch %" PRIu32 " after %" PRIu32 " of %" PRIu32
               " steps. To resume: nnmf-train --resume",
               state->epoch, state->step, r->steps);
        print_value(r->folder);
    }
    output_flush();
    return true;
}
