// merge COMMAND…: becomes the command, with same-page merging asked for all of its memory.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SET_MEMORY_MERGE 67

int main(int argc, char **argv)
{
	if (argc < 2 || prctl(SET_MEMORY_MERGE, 1, 0, 0, 0) != 0) {
		fprintf(stderr, "merge: %s\n", strerror(errno));
		return 1;
	}
	execvp(argv[1], argv + 1);
	return 1;
}
