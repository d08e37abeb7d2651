/*
 * The protocol on stdin and stdout. A message is a type byte, a length (big-endian u32 that counts itself and the body) and the
 * body. A page tag is: fork u8, tablespace u32, database u32, relation u32, block u32, big-endian.
 *
 *	B tag				begin a page; forgets the one before
 *	P tag, 8192 bytes	its base page; left out when the first record makes the page
 *	A lsn u64, record	apply a record that ends at this LSN
 *	G tag				answer: the page, 8192 bytes
 *	H					ping; answer: 8192 zero bytes
 *	M rmid u8, block u32, two pages
 *						the resource manager's rm_mask over both; answer: both (for tests that compare pages)
 *
 * Requests may be pipelined: answers come in the order of the questions. They are collected until no whole message is left to
 * read. Whatever is wrong ends the process, with the reason on stderr.
 */
#include "walredo.h"

#include <poll.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "access/xlogrecord.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#define HEADER_SIZE 5
#define TAG_SIZE 17
#define MAX_BODY (sizeof(uint64) + WALREDO_MAX_RECORD)

/* Room for one read: a few messages with pages in them. */
#define INPUT_SIZE (256 * 1024)
#define OUTPUT_SIZE (16 * BLCKSZ)

/* How long to look for the next request before sleeping until it comes: longer than the other side takes to wake up. */
#define LOOK_NS (150 * 1000)
/* A request that comes within this, our waking up included, lets the next one be looked for. */
#define SOON_NS (200 * 1000)

static int	output_fd;
static char output[OUTPUT_SIZE];
static size_t output_used = 0;

/* Bytes [input_read, input_used) are not consumed yet. */
static char *input;
static size_t input_size;
static size_t input_read = 0;
static size_t input_used = 0;

static void
flush_output(void)
{
	size_t		written = 0;

	while (written < output_used)
	{
		ssize_t		n = write(output_fd, output + written, output_used - written);

		if (n < 0 && errno != EINTR)
			ereport(FATAL, (errmsg("could not write an answer: %m")));
		if (n > 0)
			written += (size_t) n;
	}
	output_used = 0;
}

/* Space for one page in the output, for the caller to fill. */
static char *
answer_page(void)
{
	char	   *page;

	if (output_used + BLCKSZ > sizeof(output))
		flush_output();
	page = output + output_used;
	output_used += BLCKSZ;
	return page;
}

/* Whether the last request came soon enough to look for the next one. */
static bool soon = true;

static uint64
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64) now.tv_sec * 1000000000 + (uint64) now.tv_nsec;
}

/*
 * Waiting for the next request costs more than most requests, if the processor falls asleep meanwhile. So, where one request
 * follows the other, it is looked for a little while. Who asks may need this very processor to do so: it goes first.
 */
static void
look_for_input(uint64 begun)
{
	struct pollfd input_fd = {.fd = STDIN_FILENO,.events = POLLIN};

	while (soon && poll(&input_fd, 1, 0) == 0 && now_ns() - begun < LOOK_NS)
		sched_yield();
}

/* Makes `wanted` unread bytes available in one piece. False at the end of the input if there is nothing unread. */
static bool
fill_input(size_t wanted)
{
	uint64		begun;

	if (input_used - input_read >= wanted)
		return true;

	/* About to wait: nobody may be waiting for us. */
	flush_output();
	begun = now_ns();

	if (input_read > 0)
	{
		memmove(input, input + input_read, input_used - input_read);
		input_used -= input_read;
		input_read = 0;
	}
	if (wanted > input_size)
	{
		input = repalloc(input, wanted);
		input_size = wanted;
	}
	look_for_input(begun);
	while (input_used < wanted)
	{
		ssize_t		n = read(STDIN_FILENO, input + input_used, input_size - input_used);

		if (n == 0 && input_used == 0)
			return false;
		if (n == 0)
			ereport(FATAL, (errmsg("the input ended inside a message")));
		if (n < 0 && errno != EINTR)
			ereport(FATAL, (errmsg("could not read a message: %m")));
		if (n > 0)
			input_used += (size_t) n;
	}
	soon = now_ns() - begun < SOON_NS;
	return true;
}

static uint32
get_u32(const char *at)
{
	uint32		value;

	memcpy(&value, at, sizeof(value));
	return pg_ntoh32(value);
}

static uint64
get_u64(const char *at)
{
	uint64		value;

	memcpy(&value, at, sizeof(value));
	return pg_ntoh64(value);
}

static PageTag
get_tag(const char *at)
{
	PageTag		tag;

	tag.fork = (ForkNumber) (unsigned char) at[0];
	SET_LOCATOR(&tag.rel, get_u32(at + 1), get_u32(at + 5), get_u32(at + 9));
	tag.blk = get_u32(at + 13);
	return tag;
}

static void
require_length(char type, size_t length, size_t expected)
{
	if (length != expected)
		ereport(FATAL, (errmsg("a message of type %c has %zu bytes, expected %zu", type, length, expected)));
}

/* Pages are masked in an aligned copy, and checked by rm_mask itself. */
static void
mask_pages(const char *body)
{
	PGAlignedBlock page;

	for (int i = 0; i < 2; i++)
	{
		memcpy(page.data, body + 5 + i * BLCKSZ, BLCKSZ);
		walredo_mask((uint8) body[0], get_u32(body + 1), page.data);
		memcpy(answer_page(), page.data, BLCKSZ);
	}
}

static void
handle_message(char type, const char *body, size_t length)
{
	PageTag		tag;

	switch (type)
	{
		case 'B':
			require_length(type, length, TAG_SIZE);
			tag = get_tag(body);
			walredo_begin(&tag);
			break;
		case 'P':
			require_length(type, length, TAG_SIZE + BLCKSZ);
			tag = get_tag(body);
			walredo_push_page(&tag, body + TAG_SIZE);
			break;
		case 'A':
			if (length < sizeof(uint64) + SizeOfXLogRecord)
				ereport(FATAL, (errmsg("a record message has only %zu bytes", length)));
			walredo_apply(get_u64(body), body + sizeof(uint64), (uint32) (length - sizeof(uint64)));
			break;
		case 'G':
			require_length(type, length, TAG_SIZE);
			tag = get_tag(body);
			walredo_get_page(&tag, answer_page());
			break;
		case 'H':
			require_length(type, length, 0);
			memset(answer_page(), 0, BLCKSZ);
			break;
		case 'M':
			require_length(type, length, 5 + 2 * BLCKSZ);
			mask_pages(body);
			break;
		default:
			ereport(FATAL, (errmsg("unknown message type 0x%02X", (unsigned char) type)));
	}
}

void
walredo_serve(int out_fd)
{
	output_fd = out_fd;
	input_size = INPUT_SIZE;
	input = MemoryContextAlloc(TopMemoryContext, input_size);

	while (fill_input(HEADER_SIZE))
	{
		char		type = input[input_read];
		uint32		length = get_u32(input + input_read + 1);

		if (length < sizeof(uint32) || length - sizeof(uint32) > MAX_BODY)
			ereport(FATAL, (errmsg("a message of type 0x%02X has an impossible length %u", (unsigned char) type, length)));
		length -= sizeof(uint32);
		fill_input(HEADER_SIZE + length);
		input_read += HEADER_SIZE + length;
		handle_message(type, input + input_read - length, length);
	}
	flush_output();
	_exit(0);
}
