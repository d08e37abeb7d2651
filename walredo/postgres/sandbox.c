/*
 * What the process may still do when it starts to read records, which may be hostile: compute, and read and write what is open.
 *
 * PostgreSQL's redo code trusts WAL; a crafted record can make it write anywhere in its memory. After this, such a record can
 * give a wrong answer to its own request, or kill the process, and nothing else.
 */
#include "walredo.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

/* Address space that redo may take on top of what the started process has. */
#define EXTRA_ADDRESS_SPACE ((rlim_t) 512 * 1024 * 1024)

#if defined(__x86_64__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define FILTER_ARCH AUDIT_ARCH_RISCV64
#endif

static void
close_other_descriptors(int out_fd, int zero_fd)
{
	DIR		   *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	if (dir == NULL)
		ereport(FATAL, (errmsg("could not list open descriptors in /proc/self/fd: %m")));
	while ((entry = readdir(dir)) != NULL)
	{
		int			fd = atoi(entry->d_name);

		if (fd > STDERR_FILENO && fd != out_fd && fd != zero_fd && fd != dirfd(dir))
			close(fd);
	}
	closedir(dir);
}

static rlim_t
address_space_now(void)
{
	FILE	   *file = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	if (file == NULL || fscanf(file, "%lu", &pages) != 1)
		ereport(FATAL, (errmsg("could not read /proc/self/statm: %m")));
	fclose(file);
	return (rlim_t) pages * (rlim_t) sysconf(_SC_PAGESIZE);
}

static void
limit(int resource, const char *name, rlim_t value)
{
	struct rlimit limits = {.rlim_cur = value, .rlim_max = value};

	if (setrlimit(resource, &limits) != 0)
		ereport(FATAL, (errmsg("could not set the limit %s: %m", name)));
}

#ifdef FILTER_ARCH

#define ALLOW(name) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void
filter_system_calls(void)
{
	static struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(read),
		ALLOW(write),
		/* stray reads and writes of /dev/zero */
		ALLOW(pread64),
		ALLOW(preadv),
		ALLOW(pwrite64),
		ALLOW(pwritev),
		/* looking for the next request */
#ifdef __NR_poll
		ALLOW(poll),
#endif
		ALLOW(ppoll),
		/* memory */
		ALLOW(brk),
		ALLOW(mmap),
		ALLOW(munmap),
		ALLOW(mremap),
		ALLOW(madvise),
		ALLOW(futex),
		ALLOW(sched_yield),
		/* the end, and what is said before it */
		ALLOW(exit_group),
		ALLOW(getpid),
		/* a clock, where the vDSO has none */
		ALLOW(clock_gettime),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {.len = lengthof(filter), .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		ereport(FATAL, (errmsg("could not give up privileges: %m")));
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0)
		ereport(FATAL, (errmsg("could not install the system call filter: %m")));
}

#else

static void
filter_system_calls(void)
{
	ereport(WARNING, (errmsg("no system call filter is known for this processor: redo runs without one")));
}

#endif

void
walredo_sandbox(int out_fd, int zero_fd)
{
	close_other_descriptors(out_fd, zero_fd);
	limit(RLIMIT_AS, "RLIMIT_AS", address_space_now() + EXTRA_ADDRESS_SPACE);
	limit(RLIMIT_CORE, "RLIMIT_CORE", 0);
	filter_system_calls();
}
