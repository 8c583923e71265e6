#include "fibre.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

/* AddressSanitizer of GCC 14, but not of GCC 12, detects uses after return by default. For that
 * each fibre gets a second stack, which takes gigabytes for the fibres of a few blocks. */
extern "C" const char *__asan_default_options()
{
    return "detect_stack_use_after_return=0";
}
#endif

namespace cuda_host
{

static const size_t stack_bytes = size_t(128) << 10;

static Fibre *left; /* the fibre that was just switched from */

static void finish_switch(Fibre *self)
{
#ifdef WITH_ASAN
    /* The bounds of the host's stack become known when it is left for the first time. */
    __sanitizer_finish_switch_fiber(self ? self->fake_stack : nullptr, &left->bottom, &left->size);
#else
    (void)self;
#endif
}

void fibre_entered()
{
    finish_switch(nullptr);
}

#ifdef __x86_64__

extern "C" void cuda_host_switch(void **save, void *stack_pointer);

/* The registers that a call preserves, on the stack; the return address is below them. */
__asm__(
    ".text\n"
    ".globl cuda_host_switch\n"
    ".type cuda_host_switch, @function\n"
    "cuda_host_switch:\n"
    "    pushq %rbp\n"
    "    pushq %rbx\n"
    "    pushq %r12\n"
    "    pushq %r13\n"
    "    pushq %r14\n"
    "    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n"
    "    popq %r14\n"
    "    popq %r13\n"
    "    popq %r12\n"
    "    popq %rbx\n"
    "    popq %rbp\n"
    "    ret\n"
    ".size cuda_host_switch, . - cuda_host_switch\n");

static void prepare(Fibre *fibre, char *top, void (*entry)())
{
    /* At the entry of a function the stack is 16-byte aligned except for the return address. That
     * is 0 here, which ends a stack trace. */
    uint64_t *words = reinterpret_cast<uint64_t *>(top) - 8;
    for (int i = 0; i < 8; i++)
        words[i] = 0;
    words[6] = reinterpret_cast<uint64_t>(entry);
    fibre->stack_pointer = words;
}

static void exchange(Fibre *from, Fibre *to)
{
    cuda_host_switch(&from->stack_pointer, to->stack_pointer);
}

#else

static void prepare(Fibre *fibre, char *top, void (*entry)())
{
    ucontext_t *context = new ucontext_t;
    getcontext(context);
    char *bottom = static_cast<char *>(const_cast<void *>(fibre->bottom));
    context->uc_stack.ss_sp = bottom;
    context->uc_stack.ss_size = size_t(top - bottom);
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    fibre->context = context;
}

static void exchange(Fibre *from, Fibre *to)
{
    if (!from->context)
        from->context = new ucontext_t;
    swapcontext(static_cast<ucontext_t *>(from->context), static_cast<ucontext_t *>(to->context));
}

#endif

Fibre *fibre_create(void (*entry)())
{
    static unsigned created;
    size_t page = size_t(sysconf(_SC_PAGESIZE));
    void *memory = mmap(nullptr, page + stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
        perror("cuda_host: a thread's stack");
        abort();
    }
    Fibre *fibre = new Fibre();
    char *bottom = static_cast<char *>(memory) + page;
    fibre->bottom = bottom;
    fibre->size = stack_bytes;
    /* The tops have different offsets in their pages, so that they do not compete for the same
     * cache lines. */
    prepare(fibre, bottom + stack_bytes - (created++ * 576) % 8192, entry);
    return fibre;
}

void fibre_switch(Fibre *from, Fibre *to)
{
    left = from;
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
#endif
    exchange(from, to);
    finish_switch(from);
}

} // namespace cuda_host
