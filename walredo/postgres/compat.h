/*
 * Names that differ between PostgreSQL 15 and 18. Everything is written in the newer names.
 */
#ifndef WALREDO_COMPAT_H
#define WALREDO_COMPAT_H

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "the walredo module is written for PostgreSQL 15, 16, 17 and 18"
#endif

#if PG_VERSION_NUM >= 160000
#include "storage/relfilelocator.h"
#define BLOCK_LOCATOR(blk) ((blk)->rlocator)
#define SET_LOCATOR(loc, spc, db, rel) ((loc)->spcOid = (spc), (loc)->dbOid = (db), (loc)->relNumber = (rel))
#else
#include "storage/relfilenode.h"
#define RelFileLocator RelFileNode
#define RelFileLocatorEquals RelFileNodeEquals
#define BLOCK_LOCATOR(blk) ((blk)->rnode)
#define SET_LOCATOR(loc, spc, db, rel) ((loc)->spcNode = (spc), (loc)->dbNode = (db), (loc)->relNode = (rel))
#endif

#if PG_VERSION_NUM >= 170000
#define NO_BACKEND INVALID_PROC_NUMBER
#else
#define NO_BACKEND InvalidBackendId
#endif

#endif
