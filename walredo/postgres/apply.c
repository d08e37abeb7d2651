/*
 * Applying a chain of records to one page, the target, with the resource managers' own redo routines.
 *
 * The target's relation is renamed to fake relation 0 and every other relation of a record to another one; block numbers stay,
 * because redo derives other blocks from them. Blocks of the record other than the target get a dummy page with the highest
 * possible LSN, so that redo takes them as done already.
 */
#include "walredo.h"

#include "access/heapam_xlog.h"
#include "access/rmgr.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/memutils.h"

/* Heap blocks whose bits one visibility map page holds: two bits for each block (visibilitymap.c). */
#define HEAP_BLOCKS_PER_VM_PAGE ((BlockNumber) ((BLCKSZ - MAXALIGN(SizeOfPageHeaderData)) * BITS_PER_BYTE / 2))

/* Buffers that a record with this many blocks may take: each block, its FSM page and VM page, and some to spare. */
#define BUFFERS_FOR(blocks) (3 * (blocks) + 4)

static PageTag target;
static bool have_target = false;
static Buffer target_buffer = InvalidBuffer;

/* An upper bound of the buffers taken since they were last dropped. */
static int	buffers_taken = 0;

static XLogReaderState *reader;
static MemoryContext redo_context;

/* Grown to the largest record seen. */
static char *record_copy;
static DecodedXLogRecord *decoded;
static uint32 record_capacity = 0;

static void
redo_error_context(void *arg)
{
	if (reader->record == NULL)
		return;
	errcontext("redo of the record that ends at %X/%X (resource manager %u, info %02X) on block %u of %s fork",
			   LSN_FORMAT_ARGS(reader->EndRecPtr), XLogRecGetRmid(reader), XLogRecGetInfo(reader),
			   target.blk, forkNames[target.fork]);
}

static void
reserve_record(uint32 length)
{
	if (length <= record_capacity)
		return;
	if (record_copy != NULL)
	{
		pfree(record_copy);
		pfree(decoded);
	}
	record_capacity = Max(length, 64 * 1024);
	record_copy = MemoryContextAlloc(TopMemoryContext, record_capacity);
	decoded = MemoryContextAlloc(TopMemoryContext, DecodeXLogRecordRequiredSpace(record_capacity));
}

void
walredo_apply_init(void)
{
	static ErrorContextCallback callback = {.callback = redo_error_context};

	reader = XLogReaderAllocate(wal_segment_size, NULL, XL_ROUTINE(.page_read = NULL), NULL);
	if (reader == NULL)
		ereport(FATAL, (errmsg("out of memory for the record reader")));
	reserve_record(1);
	redo_context = AllocSetContextCreate(TopMemoryContext, "walredo record", ALLOCSET_DEFAULT_SIZES);

	callback.previous = error_context_stack;
	error_context_stack = &callback;
}

static bool
is_target(const RelFileLocator *rel, ForkNumber fork, BlockNumber blk)
{
	return blk == target.blk && fork == target.fork && RelFileLocatorEquals(*rel, target.rel);
}

static void
require_target(const PageTag *tag, const char *what)
{
	if (!have_target || !is_target(&tag->rel, tag->fork, tag->blk))
		ereport(FATAL, (errmsg("%s names another page than the request began with", what)));
}

static Buffer
lock_fresh_buffer(RelFileLocator rel, ForkNumber fork, BlockNumber blk)
{
	return XLogReadBufferExtended(rel, fork, blk, RBM_ZERO_AND_LOCK, InvalidBuffer);
}

static void
put_target(const char *page)
{
	target_buffer = lock_fresh_buffer(walredo_fakerel(0), target.fork, target.blk);
	memcpy(BufferGetPage(target_buffer), page, BLCKSZ);
	UnlockReleaseBuffer(target_buffer);
	buffers_taken++;
}

/* If the page is nowhere, it is read as zeros: only a visibility map page may start like that, and redo checks the others. */
static void
copy_target(char *page)
{
	RelFileLocator rel = walredo_fakerel(0);
	Buffer		buffer = target_buffer;

	if (!BufferIsValid(buffer) || !ReadRecentBuffer(rel, target.fork, target.blk, buffer))
		buffer = XLogReadBufferExtended(rel, target.fork, target.blk, RBM_NORMAL_NO_LOG, InvalidBuffer);
	memcpy(page, BufferGetPage(buffer), BLCKSZ);
	ReleaseBuffer(buffer);
}

static void
drop_buffers(void)
{
	walredo_fakerel_drop_buffers();
	target_buffer = InvalidBuffer;
	buffers_taken = 0;
}

void
walredo_begin(const PageTag *tag)
{
	if (tag->fork < 0 || tag->fork > MAX_FORKNUM)
		ereport(FATAL, (errmsg("fork %d does not exist", tag->fork)));
	if (tag->blk >= MaxBlockNumber)
		ereport(FATAL, (errmsg("block %u cannot exist", tag->blk)));
	drop_buffers();
	reader->record = NULL;
	target = *tag;
	have_target = true;
}

void
walredo_push_page(const PageTag *tag, const char *page)
{
	require_target(tag, "a pushed page");
	put_target(page);
}

void
walredo_get_page(const PageTag *tag, char *page)
{
	require_target(tag, "a wanted page");
	copy_target(page);
}

static void
decode(XLogRecPtr end_lsn, const char *bytes, uint32 length)
{
	XLogRecord *record;
	char	   *error = NULL;

	reserve_record(length);
	memcpy(record_copy, bytes, length);
	record = (XLogRecord *) record_copy;
	if (record->xl_tot_len != length)
		ereport(FATAL, (errmsg("a record of %u bytes says that it has %u", length, record->xl_tot_len)));

	reader->EndRecPtr = end_lsn;
	reader->ReadRecPtr = end_lsn - MAXALIGN(length);
	reader->record = NULL;
	if (!DecodeXLogRecord(reader, decoded, record, reader->ReadRecPtr, &error))
		ereport(FATAL, (errmsg("could not decode the record that ends at %X/%X: %s", LSN_FORMAT_ARGS(end_lsn), error)));
	decoded->next_lsn = end_lsn;
	reader->record = decoded;
}

/* Whether a heap record reaches the target, a visibility map page, through one of the heap blocks that it names. */
static bool
clears_target_vm(const DecodedBkpBlock *block)
{
	return target.fork == VISIBILITYMAP_FORKNUM && block->forknum == MAIN_FORKNUM &&
		(decoded->header.xl_rmid == RM_HEAP_ID || decoded->header.xl_rmid == RM_HEAP2_ID) &&
		RelFileLocatorEquals(BLOCK_LOCATOR(block), target.rel) &&
		block->blkno / HEAP_BLOCKS_PER_VM_PAGE == target.blk;
}

/* A dummy that redo leaves alone: initialised, and newer than every record. */
static Buffer
put_dummy(RelFileLocator rel, ForkNumber fork, BlockNumber blk)
{
	Buffer		buffer = lock_fresh_buffer(rel, fork, blk);
	Page		page = BufferGetPage(buffer);

	PageInit(page, BLCKSZ, 0);
	PageSetLSN(page, PG_UINT64_MAX);
	UnlockReleaseBuffer(buffer);
	return buffer;
}

/* The fake relation for a block's relation: the same one for the same relation. */
static int
fake_number(const RelFileLocator *original, int id)
{
	if (RelFileLocatorEquals(original[id], target.rel))
		return 0;
	for (int earlier = 0; earlier < id; earlier++)
		if (decoded->blocks[earlier].in_use && RelFileLocatorEquals(original[earlier], original[id]))
			return earlier + 1;
	return id + 1;
}

/* Renames the relations of the record's blocks and puts a page where redo will look for one. */
static void
redirect_blocks(void)
{
	RelFileLocator original[XLR_MAX_BLOCK_ID + 1];
	bool		bears_on_target = false;

	for (int id = 0; id <= decoded->max_block_id; id++)
	{
		DecodedBkpBlock *block = &decoded->blocks[id];
		bool		initialised;

		if (!block->in_use)
			continue;
		if (block->forknum < 0 || block->forknum > MAX_FORKNUM || block->blkno >= MaxBlockNumber)
			ereport(FATAL, (errmsg("block reference %d names fork %d, block %u", id, block->forknum, block->blkno)));

		original[id] = BLOCK_LOCATOR(block);
		initialised = block->apply_image || (block->flags & BKPBLOCK_WILL_INIT) != 0;
		if (clears_target_vm(block))
			bears_on_target = true;
		if (is_target(&original[id], block->forknum, block->blkno))
		{
			bears_on_target = true;
			BLOCK_LOCATOR(block) = walredo_fakerel(0);
			block->prefetch_buffer = target_buffer;
			continue;
		}
		BLOCK_LOCATOR(block) = walredo_fakerel(fake_number(original, id));
		/* A page that redo makes anew needs nothing beforehand. */
		if (!initialised)
			block->prefetch_buffer = put_dummy(BLOCK_LOCATOR(block), block->forknum, block->blkno);
	}
	if (!bears_on_target)
		ereport(FATAL, (errmsg("the record does not bear on the page")));
}

/* Drops the pages of earlier records before they could push the target out of the buffer pool. */
static void
make_room(void)
{
	int			wanted = BUFFERS_FOR(decoded->max_block_id + 1);

	if (buffers_taken + wanted > WALREDO_MIN_BUFFERS)
	{
		PGAlignedBlock page;

		copy_target(page.data);
		drop_buffers();
		put_target(page.data);
	}
	buffers_taken += wanted;
}

/* Takes away what a redo routine would do outside the record's pages. */
static void
disarm(void)
{
#if PG_VERSION_NUM >= 180000
	/* Invalidation messages: there is no cache to invalidate, and a relation cache file would be unlinked. */
	if (decoded->header.xl_rmid == RM_HEAP_ID &&
		(decoded->header.xl_info & XLOG_HEAP_OPMASK) == XLOG_HEAP_INPLACE)
	{
		xl_heap_inplace *inplace = (xl_heap_inplace *) decoded->main_data;

		if (decoded->main_data_len < MinSizeOfHeapInplace)
			ereport(FATAL, (errmsg("a heap inplace record has only %u bytes", decoded->main_data_len)));
		inplace->nmsgs = 0;
		inplace->relcacheInitFileInval = false;
	}
#endif
}

void
walredo_apply(XLogRecPtr end_lsn, const char *record, uint32 length)
{
	MemoryContext old_context;

	if (!have_target)
		ereport(FATAL, (errmsg("a record came before a page was named")));
	decode(end_lsn, record, length);
	make_room();
	redirect_blocks();
	disarm();

	old_context = MemoryContextSwitchTo(redo_context);
	GetRmgr(decoded->header.xl_rmid).rm_redo(reader);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(redo_context);
}

void
walredo_mask(uint8 rmid, BlockNumber blk, char *page)
{
	MemoryContext old_context = MemoryContextSwitchTo(redo_context);
	RmgrData	rmgr = GetRmgr(rmid);

	if (rmgr.rm_mask != NULL)
		rmgr.rm_mask(page, blk);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(redo_context);
}
