#include "compared_training.h"

#include "training/evaluation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

Plan usual_plan(int steps)
{
    Plan plan = {.options = network_default_options,
                 .augment = AUGMENT_IMAGE,
                 .shuffle = true,
                 .steps = steps};
    plan.options.iterations = 5; /* for speed */
    return plan;
}

/* Runs the step and downloads its results. */
static void run_step(Steps *steps, int number, StepOutcome *o)
{
    const Batches *b = steps->batches;
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    Error error = {0};
    Totals totals;
    StepState start = step_state_of(number), step_state;
    uint32_t step = (uint32_t)number % STEPS_AN_EPOCH;
    if (step == 0)
        steps_reset(steps, &start, &(Totals){0});
    must(step_run(steps, &error), &error);
    ops->download(backend, o->indices, b->indices, sizeof o->indices);
    ops->download(backend, o->augmentations, b->augmentations, sizeof o->augmentations);
    must(steps_read(steps, &step_state, &totals, &error), &error);
    assert_int_equal(step_state.step, step + 1);
    assert_int_equal(step_state.updates, number + 1);
    assert_int_equal(totals.first_nonfinite_step, 0);
    o->loss = totals.batch_loss;
    o->correct = totals.batch_correct;
}

void train(const Device *device, const Plan *plan, Outcome *o)
{
    Network network;
    Model model;
    Batches batches;
    Error error = {0};
    memset(o, 0, sizeof *o);
    build_small(&plan->options, &network);
    must(model_create(&network, device, BATCH, 1, &model, &error), &error);
    must(load_small(device, IMAGES, FIRST, END, network.input, BATCH, 1, &batches, &error), &error);
    assert_int_equal(batches.steps, STEPS_AN_EPOCH);
    must(model_initialise(&model, 3, &error), &error);
    batches.sampler.shuffle = plan->shuffle;
    batches.sampler.augment = plan->augment;
    batches.sampler.seed = 77;
    Steps steps;
    must(steps_create(&model, &batches, STEP_TRAIN, &steps, &error), &error);
    for (int i = 0; i < plan->steps; i++)
        run_step(&steps, i, &o->steps[i]);

    /* The second step of each batch size is recorded, later ones are replayed. */
    bool can_record = device->operations->record != NULL;
    assert_int_equal(steps.recordings[1] != NULL, can_record && plan->steps >= 2);
    assert_int_equal(steps.recordings[0] != NULL, can_record && plan->steps >= 2 * STEPS_AN_EPOCH);
    assert_int_equal(cuda_host_cold_graph_launches(), 0);
    steps_destroy(&steps);

    Steps tests;
    must(steps_create(&model, &batches, STEP_TEST, &tests, &error), &error);
    batches.sampler.augment = AUGMENT_NONE;
    Evaluation result = {.probabilities = o->probabilities};
    for (int i = 0; i < 3; i++)
        must(evaluate(&tests, (Watch){0}, &result, &error), &error);
    o->correct = result.correct;
    steps_destroy(&tests);
    must(model_read(&model, model.parameters, o->parameters, &error), &error);
    batches_destroy(&batches);
    model_destroy(&model);
}

void train_on_cuda(NnmfKernel kernel, const Plan *plan, Outcome *o)
{
    Device device;
    open_cuda(kernel, PRECISION_FP32, &device);
    train(&device, plan, o);
    device_close(&device);
    assert_nothing_left();
}

void open_cpu(Device *device)
{
    Error error = {0};
    must(device_open(device, &(DeviceOptions){.kind = DEVICE_CPU, .cpu.threads = 1}, &error),
         &error);
}

void train_on_cpu(const Plan *plan, Outcome *o)
{
    Device device;
    open_cpu(&device);
    train(&device, plan, o);
    device_close(&device);
}

void assert_same_images(const Outcome *a, const Outcome *b)
{
    for (int i = 0; i < STEPS; i++) {
        assert_memory_equal(a->steps[i].indices, b->steps[i].indices, sizeof a->steps[i].indices);
        assert_memory_equal(a->steps[i].augmentations, b->steps[i].augmentations,
                            sizeof a->steps[i].augmentations);
    }
}

double loss_distance(const Outcome *a, const Outcome *b, int step)
{
    return fabs(a->steps[step].loss / b->steps[step].loss - 1.0);
}

/* Returns the maximum relative distance of the NNMF layers' weights. Biases before a batch norm are
 * left out: they have no effect, and their gradients are rounding errors that Adam scales to full
 * steps. */
static double weight_distance(const Network *network, const Outcome *a, const Outcome *b)
{
    double max = 0.0;
    for (int i = 0; i < network->parameter_count; i++) {
        const Parameter *p = &network->parameters[i];
        if (p->group == GROUP_NNMF)
            max = fmax(max, relative_distance(a->parameters + p->offset, b->parameters + p->offset,
                                              p->elements));
    }
    return max;
}

/* Sums in another order differ by about 1e-7, and training does not amplify that here: with initial
 * parameters that differ by 1e-6, the CPU's own losses stay within 6e-7 for 40 steps. */
static void check_trajectory(const char *which, NnmfKernel kernel, const Plan *plan,
                             const Outcome *cpu)
{
    const double loss_bound = 3e-6, weight_bound = 1e-5;
    static Outcome cuda;
    Network network;
    build_small(&plan->options, &network);
    train_on_cuda(kernel, plan, &cuda);
    assert_same_images(&cuda, cpu);
    for (int i = 0; i < plan->steps; i++)
        assert_within(which, "loss of step", i, loss_distance(&cuda, cpu, i), loss_bound);
    assert_within(which, "weights after step", plan->steps, weight_distance(&network, &cuda, cpu),
                  weight_bound);
    assert_within(
        which, "probabilities after step", plan->steps,
        relative_distance(cuda.probabilities, cpu->probabilities, COUNT(cpu->probabilities)),
        weight_bound);
}

void check_both_kernels(const char *which, const Plan *plan)
{
    static Outcome cpu;
    char name[64];
    train_on_cpu(plan, &cpu);
    for (size_t k = 0; k < COUNT(kernels); k++) {
        snprintf(name, sizeof name, "%s, %s", which, nnmf_kernel_names[k]);
        check_trajectory(name, kernels[k], plan, &cpu);
    }
}
