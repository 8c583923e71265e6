/* Stacks that the threads of a block take turns on. */
#ifndef CUDA_HOST_FIBRE_H
#define CUDA_HOST_FIBRE_H

#include <cstddef>

namespace cuda_host
{

struct Fibre {
    void *stack_pointer; /* while it rests */
    void *context;       /* likewise, where there is no hand-written switch */
    const void *bottom;
    size_t size;
    void *fake_stack; /* AddressSanitizer's, for use after return */
};

/* Its entry function never returns and calls fibre_entered first. They are never freed. */
Fibre *fibre_create(void (*entry)());
void fibre_entered();

/* `from` is the one that runs; returns when something switches back to it. */
void fibre_switch(Fibre *from, Fibre *to);

} // namespace cuda_host

#endif
