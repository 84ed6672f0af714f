// A target whose threads hold known values in every register, in the red zone and in the signal mask, and look
// again and again whether they are still there. Prints `ready`; for every line of input the number of wrong values
// seen so far and the rounds made.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile unsigned long wrong, rounds;
static int wide;
// 16 general registers' worth of values, 16 vectors of 32 bytes, and where they are put back
struct state { uint64_t general[16]; uint64_t zone[8]; unsigned char vectors[16][32]; uint32_t mxcsr, pad; uint16_t x87; };

__attribute__((naked, noinline)) static void hold(struct state *s __attribute__((unused)), struct state *back __attribute__((unused)), unsigned long spins __attribute__((unused)), int avx __attribute__((unused))) {
  __asm__ volatile(
      "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
      "push %rsi; push %rdx; push %rcx\n"
      // red zone
      "mov 128(%rdi),%rax; mov %rax,-8(%rsp); mov 136(%rdi),%rax; mov %rax,-64(%rsp); mov 144(%rdi),%rax; mov %rax,-128(%rsp)\n"
      "test %ecx,%ecx; jz 1f\n"
      "vmovdqu 192(%rdi),%ymm0; vmovdqu 224(%rdi),%ymm1; vmovdqu 256(%rdi),%ymm2; vmovdqu 288(%rdi),%ymm3\n"
      "vmovdqu 320(%rdi),%ymm4; vmovdqu 352(%rdi),%ymm5; vmovdqu 384(%rdi),%ymm6; vmovdqu 416(%rdi),%ymm7\n"
      "vmovdqu 448(%rdi),%ymm8; vmovdqu 480(%rdi),%ymm9; vmovdqu 512(%rdi),%ymm10; vmovdqu 544(%rdi),%ymm11\n"
      "vmovdqu 576(%rdi),%ymm12; vmovdqu 608(%rdi),%ymm13; vmovdqu 640(%rdi),%ymm14; vmovdqu 672(%rdi),%ymm15\n"
      "jmp 2f\n"
      "1: movdqu 192(%rdi),%xmm0; movdqu 224(%rdi),%xmm1; movdqu 256(%rdi),%xmm2; movdqu 288(%rdi),%xmm3\n"
      "movdqu 320(%rdi),%xmm4; movdqu 352(%rdi),%xmm5; movdqu 384(%rdi),%xmm6; movdqu 416(%rdi),%xmm7\n"
      "movdqu 448(%rdi),%xmm8; movdqu 480(%rdi),%xmm9; movdqu 512(%rdi),%xmm10; movdqu 544(%rdi),%xmm11\n"
      "movdqu 576(%rdi),%xmm12; movdqu 608(%rdi),%xmm13; movdqu 640(%rdi),%xmm14; movdqu 672(%rdi),%xmm15\n"
      "2: mov 0(%rdi),%rbx; mov 8(%rdi),%rcx; mov 16(%rdi),%rdx; mov 24(%rdi),%rbp; mov 32(%rdi),%r8; mov 40(%rdi),%r9\n"
      "mov 48(%rdi),%r10; mov 56(%rdi),%r11; mov 64(%rdi),%r12; mov 72(%rdi),%r13; mov 80(%rdi),%r14; mov 88(%rdi),%r15\n"
      "mov 96(%rdi),%rsi; mov 8(%rsp),%rax\n"
      "3: dec %rax; jnz 3b\n"
      "mov 16(%rsp),%rax\n" // back
      "mov %rbx,0(%rax); mov %rcx,8(%rax); mov %rdx,16(%rax); mov %rbp,24(%rax); mov %r8,32(%rax); mov %r9,40(%rax)\n"
      "mov %r10,48(%rax); mov %r11,56(%rax); mov %r12,64(%rax); mov %r13,72(%rax); mov %r14,80(%rax); mov %r15,88(%rax)\n"
      "mov %rsi,96(%rax)\n"
      "mov -8(%rsp),%rcx; mov %rcx,128(%rax); mov -64(%rsp),%rcx; mov %rcx,136(%rax); mov -128(%rsp),%rcx; mov %rcx,144(%rax)\n"
      "cmpl $0,(%rsp); je 4f\n"
      "vmovdqu %ymm0,192(%rax); vmovdqu %ymm1,224(%rax); vmovdqu %ymm2,256(%rax); vmovdqu %ymm3,288(%rax)\n"
      "vmovdqu %ymm4,320(%rax); vmovdqu %ymm5,352(%rax); vmovdqu %ymm6,384(%rax); vmovdqu %ymm7,416(%rax)\n"
      "vmovdqu %ymm8,448(%rax); vmovdqu %ymm9,480(%rax); vmovdqu %ymm10,512(%rax); vmovdqu %ymm11,544(%rax)\n"
      "vmovdqu %ymm12,576(%rax); vmovdqu %ymm13,608(%rax); vmovdqu %ymm14,640(%rax); vmovdqu %ymm15,672(%rax)\n"
      "vzeroupper\n"
      "jmp 5f\n"
      "4: movdqu %xmm0,192(%rax); movdqu %xmm1,224(%rax); movdqu %xmm2,256(%rax); movdqu %xmm3,288(%rax)\n"
      "movdqu %xmm4,320(%rax); movdqu %xmm5,352(%rax); movdqu %xmm6,384(%rax); movdqu %xmm7,416(%rax)\n"
      "movdqu %xmm8,448(%rax); movdqu %xmm9,480(%rax); movdqu %xmm10,512(%rax); movdqu %xmm11,544(%rax)\n"
      "movdqu %xmm12,576(%rax); movdqu %xmm13,608(%rax); movdqu %xmm14,640(%rax); movdqu %xmm15,672(%rax)\n"
      "5: add $24,%rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n");
}

static void *thread(void *argument) {
  unsigned long seed = (unsigned long)argument;
  struct state s, back;
  sigset_t mask, now;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  if (seed & 1) sigaddset(&mask, SIGALRM);
  pthread_sigmask(SIG_SETMASK, &mask, 0);
  uint32_t mxcsr = 0x1f80 | ((seed & 3) << 13); // a rounding mode of its own
  uint16_t x87 = 0x37f ^ ((seed & 3) << 10);
  __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
  __asm__ volatile("fldcw %0" ::"m"(x87));
  for (unsigned long round = 0;; round++) {
    unsigned char *bytes = (unsigned char *)&s;
    for (unsigned i = 0; i < sizeof s; i++) bytes[i] = (unsigned char)(i * 37 + round * 11 + seed * 101);
    memcpy(&back, &s, sizeof s);
    memset(back.general, 0, 13 * 8);
    memset(back.zone, 0, 3 * 8);
    for (int i = 0; i < 16; i++) memset(back.vectors[i], 0, wide ? 32 : 16);
    hold(&s, &back, 2000, wide);
    if (memcmp(&s, &back, sizeof s)) wrong++;
    uint32_t m;
    uint16_t x;
    __asm__ volatile("stmxcsr %0" : "=m"(m));
    __asm__ volatile("fnstcw %0" : "=m"(x));
    if ((m & ~0x3fu) != (mxcsr & ~0x3fu) || x != x87) wrong++;
    if ((round & 15) == 0) {
      pthread_sigmask(SIG_SETMASK, 0, &now);
      if (memcmp(&now, &mask, 8)) wrong++;
    }
    __atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED);
  }
  return 0;
}

int main(int argc, char **argv) {
  wide = __builtin_cpu_supports("avx");
  (void)argv;
  pthread_t t;
  for (unsigned long i = 0; i < (argc > 1 ? 1u : 2u); i++) pthread_create(&t, 0, thread, (void *)(i + 1));
  printf("ready %d\n", wide);
  fflush(stdout);
  char c;
  while (read(0, &c, 1) == 1)
    if (c == '\n') {
      printf("%lu %lu\n", wrong, rounds);
      fflush(stdout);
    }
  return 0;
}
