/* Assertions for the tests of the emulation; the first failure ends the program. */
#ifndef CUDA_HOST_EXPECT_H
#define CUDA_HOST_EXPECT_H

#include "cuda_runtime_api.h"

#include <cublas_v2.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

inline void expect(bool holds, const char *what, const char *file, int line)
{
    if (holds)
        return;
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    exit(1);
}
#define EXPECT(condition) expect(condition, #condition, __FILE__, __LINE__)

inline void expect_error(cudaError_t got, cudaError_t wanted, const char *what, const char *file,
                         int line)
{
    if (got == wanted)
        return;
    fprintf(stderr, "%s:%d: %s: %s instead of %s\n", file, line, what, cudaGetErrorName(got),
            cudaGetErrorName(wanted));
    exit(1);
}
#define GIVES(wanted, call) expect_error(call, wanted, #call, __FILE__, __LINE__)
#define OK(call) GIVES(cudaSuccess, call)
#define BLAS(call) expect((call) == CUBLAS_STATUS_SUCCESS, #call, __FILE__, __LINE__)

/* Device memory with given contents, freed by the destructor. */
template <class T> struct Buffer {
    T *data = nullptr;
    size_t count;

    explicit Buffer(size_t elements) : count(elements)
    {
        OK(cudaMalloc(&data, elements * sizeof(T)));
    }
    explicit Buffer(const std::vector<T> &values) : Buffer(values.size())
    {
        OK(cudaMemcpy(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice));
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer()
    {
        cudaFree(data);
    }
    std::vector<T> read() const
    {
        std::vector<T> values(count);
        OK(cudaMemcpy(values.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost));
        return values;
    }
};

/* Small whole numbers, some of them negative. */
inline std::vector<float> numbers(size_t count)
{
    std::vector<float> values(count);
    for (size_t i = 0; i < count; i++)
        values[i] = float(i * 7 % 23) - 11.0f;
    return values;
}

/* Runs `body` in a child process, which must fail, and returns what it prints to stderr. */
template <class Body> std::string death(Body body)
{
    int ends[2];
    EXPECT(pipe(ends) == 0);
    fflush(nullptr);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        body();
        _exit(0);
    }
    close(ends[1]);
    std::string text;
    char part[4096];
    for (ssize_t got; (got = read(ends[0], part, sizeof part)) > 0;)
        text.append(part, size_t(got));
    close(ends[0]);
    int status = 0;
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    return text;
}

inline void expect_text(const std::string &text, const char *part, const char *file, int line)
{
    if (text.find(part) != std::string::npos)
        return;
    fprintf(stderr, "%s:%d: \"%s\" is not in:\n%s\n", file, line, part, text.c_str());
    exit(1);
}
#define HAS(text, part) expect_text(text, part, __FILE__, __LINE__)

#endif
