// The anchor: as plain a pager as C can be. One blocking read, one pread, one UFFDIO_COPY per fault of 4 KiB.
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>

void c_pager(int uffd, int file, char *start, size_t length)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct uffd_msg m;
	(void)length;
	while (read(uffd, &m, sizeof m) == sizeof m) {
		if (m.event != UFFD_EVENT_PAGEFAULT)
			continue;
		uintptr_t at = m.arg.pagefault.address & ~4095ul;
		if (pread(file, page, sizeof page, at - (uintptr_t)start) != sizeof page)
			_exit(1);
		struct uffdio_copy c = {.dst = at, .src = (uintptr_t)page, .len = sizeof page};
		ioctl(uffd, UFFDIO_COPY, &c);
	}
}
