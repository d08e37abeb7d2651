/*
 * A stock PostgreSQL server as a redo process.
 *
 *	LC_ALL=C postgres --single -D SCRATCH -c shared_preload_libraries=/path/to/walredo ... postgres
 *
 * Single-user mode preloads this module, makes its private "shared" memory and as the last step of that calls
 * shmem_startup_hook. Our hook never returns: it finishes what redo needs of a backend's start, locks itself in and serves
 * redo requests on stdin and stdout until the input ends. No database is opened and SCRATCH needs nothing but a control file
 * and a few empty files; after the start it is not needed any more.
 */
#include "walredo.h"

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include "access/rmgr.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogrecovery.h"
#include "access/xlogutils.h"
#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/pg_shmem.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/* Where answers go. Stdout itself belongs to whatever PostgreSQL prints. */
static int	answer_fd = -1;

/* Shutdown callbacks would make system calls that the sandbox forbids, and there is nothing to shut down. */
static void
exit_at_once(int code, Datum arg)
{
	_exit(code);
}

/* The segment stays ours while we live; marked as removed, it cannot outlive us. UsedShmemSegID holds its key, not its id. */
static void
remove_sysv_segment(void)
{
	int			id = shmget((key_t) UsedShmemSegID, 0, 0);

	if (id < 0 || shmctl(id, IPC_RMID, NULL) != 0)
		ereport(FATAL, (errmsg("could not remove the shared memory segment with key %lu: %m", UsedShmemSegID)));
}

/* Whether redo of a hint sets the page's LSN depends on this setting of the cluster whose WAL comes. */
static void
take_wal_log_hints(void)
{
	bool		crc_ok;
	ControlFileData *control = get_controlfile(DataDir, &crc_ok);

	if (!crc_ok)
		ereport(FATAL, (errmsg("the control file's checksum is wrong")));
	wal_log_hints = control->wal_log_hints;
	pfree(control);
}

/* Reads a block, so that what PostgreSQL sets up at the first read is there before the sandbox forbids it. */
static void
warm_up(void)
{
	ReleaseBuffer(XLogReadBufferExtended(walredo_fakerel(0), MAIN_FORKNUM, 0, RBM_NORMAL_NO_LOG, InvalidBuffer));
	walredo_fakerel_drop_buffers();
}

static void
redo_main(void)
{
	if (NBuffers < WALREDO_MIN_BUFFERS)
		ereport(FATAL, (errmsg("shared_buffers must be at least %d blocks", WALREDO_MIN_BUFFERS)));

	remove_sysv_segment();
	unlink("postmaster.pid");

	InitProcess();
	BaseInit();
	MemoryContextSwitchTo(TopMemoryContext);
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "walredo");
	take_wal_log_hints();

	InRecovery = true;
	/* So that a record that changes a page which is not there is an error, not a note for later. */
	reachedConsistency = true;
	RmgrStartup();

	walredo_fakerel_init();
	walredo_apply_init();
	warm_up();

	before_shmem_exit(exit_at_once, (Datum) 0);
	walredo_sandbox(answer_fd, walredo_zero_device_fd());
	walredo_serve(answer_fd);
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress || IsPostmasterEnvironment)
		ereport(FATAL, (errmsg("walredo turns a single-user server into a redo process and must not be loaded elsewhere")));

	answer_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (answer_fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		ereport(FATAL, (errmsg("could not set stdout aside: %m")));
	shmem_startup_hook = redo_main;
}
