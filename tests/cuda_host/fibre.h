/* Fibres: stacks on which the threads of a block take turns. */
#ifndef CUDA_HOST_FIBRE_H
#define CUDA_HOST_FIBRE_H

#include <cstddef>

namespace cuda_host
{

struct Fibre {
    void *stack_pointer; /* while it is suspended */
    void *context;       /* likewise, without a hand-written switch */
    const void *bottom;
    size_t size;
    void *fake_stack; /* AddressSanitizer's, for use after return */
};

/* Creates a fibre, which is never freed. `entry` must call fibre_entered first and never return. */
Fibre *fibre_create(void (*entry)());
void fibre_entered();

/* Switches from the running fibre, `from`; returns when another fibre switches back to it. */
void fibre_switch(Fibre *from, Fibre *to);

} // namespace cuda_host

#endif
