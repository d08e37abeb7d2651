/*
 * Fake relations: every fork has every block, and no file is ever opened, made or removed for them.
 *
 * Redo routines find blocks through smgr. An SMgrRelation whose cached size is the maximum and whose segments all count as
 * open never makes smgr or md.c look at the file system: mdcreate() returns at once, smgrnblocks() answers from the cache, and
 * reading or writing a block goes to the segment's virtual fd, which is /dev/zero here. So a stray read gives a zero page and a
 * stray write vanishes.
 *
 * This leans on private details of md.c: its segment entry (below) and the md_* fields of SMgrRelationData. The pageserver
 * tests a started child with known records before it uses it.
 */
#include "walredo.h"

#include <fcntl.h>

#include "access/xlog_internal.h"
#include "access/xlogrecord.h"
#include "catalog/pg_tablespace_d.h"
#include "storage/bufmgr.h"
#include "storage/fd.h"
#include "storage/smgr.h"
#include "utils/memutils.h"

/* Number 0 is the target's relation; a record may name at most one other relation per block reference. */
#define FAKE_RELATIONS (1 + XLR_MAX_BLOCK_ID + 1)

/* The database that all fake relations are in, so that one call drops all their buffers. */
#define FAKE_DATABASE ((Oid) 9999)

/* Segments that hold all blocks below MaxBlockNumber. */
#define ALL_SEGMENTS ((int) (MaxBlockNumber / RELSEG_SIZE + 1))

/* md.c's private MdfdVec, the same in 15 to 18. */
struct _MdfdVec
{
	File		mdfd_vfd;
	BlockNumber mdfd_segno;
};

static File zero_device;

RelFileLocator
walredo_fakerel(int number)
{
	RelFileLocator locator;

	Assert(number >= 0 && number < FAKE_RELATIONS);
	SET_LOCATOR(&locator, DEFAULTTABLESPACE_OID, FAKE_DATABASE, (Oid) (number + 1));
	return locator;
}

void
walredo_fakerel_drop_buffers(void)
{
	DropDatabaseBuffers(FAKE_DATABASE);
}

int
walredo_zero_device_fd(void)
{
	return FileGetRawDesc(zero_device);
}

void
walredo_fakerel_init(void)
{
	struct _MdfdVec *segments = MemoryContextAlloc(TopMemoryContext, ALL_SEGMENTS * sizeof(struct _MdfdVec));

	zero_device = PathNameOpenFile("/dev/zero", O_RDWR | PG_BINARY);
	if (zero_device < 0)
		ereport(FATAL, (errmsg("could not open /dev/zero: %m")));

	for (int segno = 0; segno < ALL_SEGMENTS; segno++)
	{
		segments[segno].mdfd_vfd = zero_device;
		segments[segno].mdfd_segno = (BlockNumber) segno;
	}

	for (int number = 0; number < FAKE_RELATIONS; number++)
	{
		SMgrRelation reln = smgropen(walredo_fakerel(number), NO_BACKEND);

#if PG_VERSION_NUM >= 170000
		smgrpin(reln);
#endif
		for (int fork = 0; fork <= MAX_FORKNUM; fork++)
		{
			reln->smgr_cached_nblocks[fork] = MaxBlockNumber;
			reln->md_num_open_segs[fork] = ALL_SEGMENTS;
			reln->md_seg_fds[fork] = segments;
		}
	}
}
