"""Lower bounds of the work of an operation: floating point operations and bytes."""

TRAIN_IMAGES, TEST_IMAGES = 50000, 10000
# Published network: window, stride, neurons, convolution, batch norms (tests/cli: `info`).
BLOCKS = ((5, 1, 32, True, 2), (2, 2, 32, False, 1), (5, 1, 64, True, 2), (2, 2, 64, False, 1),
          (4, 1, 96, True, 0), (1, 1, 10, True, 0))
ITERATIONS, PARAMETERS, FLOAT = 20, 188558, 4


def counted(batch):
    """-> for each operation: floating point operations, bytes to read or write at least once."""
    work = {}

    def add(name, flops, floats):
        before = work.get(name, (0, 0))
        work[name] = before[0] + flops, before[1] + FLOAT * floats

    side, channels = 28, 3
    pixels = batch * side * side * channels
    add("augment", 0, pixels + pixels / FLOAT)
    for number, (window, stride, neurons, convolution, norms) in enumerate(BLOCKS):
        inputs, features = batch * side * side * channels, window * window * channels
        side = (side - window) // stride + 1
        rows, weights = batch * side * side, neurons * features
        x, h = rows * features, rows * neurons
        add("unfold", 0, inputs + x + rows)
        add("weights", 0, 2 * weights)
        add("NNMF", 4 * ITERATIONS * x * neurons, x + weights + h)
        dx = x if number else 0  # the gradient of the image is not computed
        add("NNMF backward", 8 * x * neurons, x + dx + 2 * h + 2 * weights)
        add("weights backward", 0, 4 * weights)
        if number:
            add("unfold backward", 0, 2 * x + rows + 2 * inputs)
        for _ in range(norms):
            add("batch norm", 0, 2 * h)
            add("batch norm backward", 0, 3 * h)
        if convolution:
            add("convolution", 2 * h * neurons, 2 * h + neurons * neurons)
            add("convolution backward", 4 * h * neurons, 3 * h + 2 * neurons * neurons)
        channels = neurons
    add("Adam", 0, 7 * PARAMETERS)
    return work


def limit_ms(name, work, limits):
    """-> the minimum time of an operation, and whether arithmetic or memory limits it."""
    flops, bytes_ = work.get(name, (0, 0))
    arithmetic, memory = flops / limits["fp32_flops"], bytes_ / limits["copy_bytes"]
    if not flops and not bytes_:
        return None, ""
    return 1e3 * max(arithmetic, memory), "arithmetic" if arithmetic > memory else "memory"
