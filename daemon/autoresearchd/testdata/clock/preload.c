// Moves a process's wall clock by the seconds in the file WALL_OFFSET, a long, which
// may change at any moment: for C by standing before libc, for Go by giving its
// runtime the vDSO in the file WALL_VDSO. Other clocks stay as they are.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define OFFSET ((volatile long *)0x7a0000000000)
static int moved;

static void load(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  Elf64_Ehdr head;
  Elf64_Phdr part[16];
  if (fd < 0 || pread(fd, &head, sizeof head, 0) != sizeof head || head.e_phnum > 16) _exit(99);
  pread(fd, part, head.e_phnum * sizeof *part, head.e_phoff);
  char *base = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < head.e_phnum; i++) {
    if (part[i].p_type == PT_LOAD) pread(fd, base + part[i].p_vaddr, part[i].p_filesz, part[i].p_offset);
    // In a vDSO this lies where it lies in the file.
    if (part[i].p_type == PT_DYNAMIC) pread(fd, base + part[i].p_offset, part[i].p_filesz, part[i].p_offset);
  }
  close(fd);
  char **end = environ;
  while (*end) end++;
  for (Elf64_auxv_t *a = (Elf64_auxv_t *)(end + 1); a->a_type != AT_NULL; a++)
    if (a->a_type == AT_SYSINFO_EHDR) a->a_un.a_val = (unsigned long)base;
}

__attribute__((constructor)) static void begin(void) {
  const char *offset = getenv("WALL_OFFSET"), *vdso = getenv("WALL_VDSO");
  if (!offset || !vdso) return;
  int fd = open(offset, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || mmap((void *)OFFSET, 4096, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) != OFFSET) _exit(98);
  close(fd);
  moved = 1;
  load(vdso);
}

int clock_gettime(clockid_t clock, struct timespec *t) {
  int result = syscall(SYS_clock_gettime, clock, t);
  if (moved && clock == CLOCK_REALTIME) t->tv_sec += *OFFSET;
  return result;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  struct timespec now;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return result;
}

time_t time(time_t *to) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to) *to = now.tv_sec;
  return now.tv_sec;
}
