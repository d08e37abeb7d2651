/*
 * The redo child: what the parts of this module offer each other.
 *
 *	walredo.c	becoming a redo process inside a stock "postgres --single"
 *	protocol.c	messages on stdin and stdout
 *	apply.c		one page, a chain of records
 *	fakerel.c	relations that have every block and no file
 *	sandbox.c	what the process may still do once it reads untrusted records
 */
#ifndef WALREDO_H
#define WALREDO_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "common/relpath.h"
#include "storage/block.h"
#include "storage/buf.h"

#include "compat.h"

/* Shared buffers that the process is started with at least; apply.c keeps its use of them below this. */
#define WALREDO_MIN_BUFFERS 128

/* The longest record taken. A record with all its 33 blocks and images stays under 3 MiB. */
#define WALREDO_MAX_RECORD (16 * 1024 * 1024)

/* The name of a page, as the pageserver says it. */
typedef struct PageTag
{
	RelFileLocator rel;
	ForkNumber	fork;
	BlockNumber blk;
} PageTag;

/* fakerel.c */
extern void walredo_fakerel_init(void);
extern RelFileLocator walredo_fakerel(int number);
extern void walredo_fakerel_drop_buffers(void);
extern int	walredo_zero_device_fd(void);

/* apply.c */
extern void walredo_apply_init(void);
extern void walredo_begin(const PageTag *tag);
extern void walredo_push_page(const PageTag *tag, const char *page);
extern void walredo_apply(XLogRecPtr end_lsn, const char *record, uint32 length);
extern void walredo_get_page(const PageTag *tag, char *page);
extern void walredo_mask(uint8 rmid, BlockNumber blk, char *page);

/* protocol.c */
extern void walredo_serve(int out_fd);

/* sandbox.c */
extern void walredo_sandbox(int out_fd, int zero_fd);

#endif
