/*
 * greenhoused - configuration and symbol table
 *
 * This file holds the two pieces of the daemon that everything else leans on:
 *
 *   1. a string-keyed hash table (open addressing, Robin Hood displacement,
 *      backward-shift deletion), and
 *   2. the reader for /etc/greenhoused.conf, whose syntax is the usual
 *      "[section]" / "key = value" affair with a few local habits:
 *
 *          # comment                 ; also a comment
 *          [bench.north]
 *          setpoint   = 21.5C
 *          vent-open  = 26C          # trailing comments need a blank first
 *          mist-every = 15m
 *          label      = "Tomatoes, \"Black Krim\""
 *          include    = benches.d/extra.conf
 *
 * Keys are stored as "section.key".  Later definitions replace earlier ones
 * and earn a warning, because every single support mail so far has been about
 * somebody's duplicate setpoint.
 */

#define _POSIX_C_SOURCE 200809L

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GNUC__
#  define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#  define UNLIKELY(x)            __builtin_expect(!!(x), 0)
#else
#  define PRINTF_LIKE(fmt, args)
#  define UNLIKELY(x)            (x)
#endif

#define TABLE_MIN_CAP     16u
#define TABLE_MAX_LOAD    85u          /* per cent */
#define CONF_MAX_DEPTH    8            /* nested includes */
#define CONF_MAX_NAME     64
#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))

/* ------------------------------------------------------------------------ */
/* hash table                                                               */
/* ------------------------------------------------------------------------ */

struct slot {
	char     *key;                 /* NULL marks an empty slot */
	char     *value;
	uint32_t  hash;
	int       line;                /* where it was defined, for complaints */
};

struct table {
	struct slot *slots;
	size_t       cap;              /* always a power of two */
	size_t       used;
};

/* FNV-1a, folded so that the low bits get some help from the high ones. */
static uint32_t hash_string(const char *s)
{
	uint64_t h = 14695981039346656037ull;

	while (*s) {
		h ^= (unsigned char)*s++;
		h *= 1099511628211ull;
	}
	return (uint32_t)(h ^ (h >> 32));
}

static inline size_t probe_distance(const struct table *t, size_t i)
{
	size_t home = t->slots[i].hash & (t->cap - 1);

	return (i + t->cap - home) & (t->cap - 1);
}

static bool table_init(struct table *t, size_t cap)
{
	size_t c = TABLE_MIN_CAP;

	while (c < cap)
		c <<= 1;
	t->slots = calloc(c, sizeof(*t->slots));
	t->cap = t->slots ? c : 0;
	t->used = 0;
	return t->slots != NULL;
}

static void table_free(struct table *t)
{
	for (size_t i = 0; i < t->cap; i++) {
		free(t->slots[i].key);
		free(t->slots[i].value);
	}
	free(t->slots);
	memset(t, 0, sizeof(*t));
}

/*
 * Place an entry that is known not to be present.  Richer residents (those
 * close to their home slot) are evicted in favour of poorer newcomers, which
 * keeps the variance of the probe length small even at 85 % load.
 */
static void table_place(struct table *t, struct slot s)
{
	size_t mask = t->cap - 1;
	size_t i = s.hash & mask;
	size_t dist = 0;

	while (t->slots[i].key) {
		size_t theirs = probe_distance(t, i);

		if (theirs < dist) {
			struct slot tmp = t->slots[i];

			t->slots[i] = s;
			s = tmp;
			dist = theirs;
		}
		i = (i + 1) & mask;
		dist++;
	}
	t->slots[i] = s;
	t->used++;
}

static bool table_grow(struct table *t)
{
	struct table bigger;

	if (!table_init(&bigger, t->cap * 2))
		return false;
	for (size_t i = 0; i < t->cap; i++)
		if (t->slots[i].key)
			table_place(&bigger, t->slots[i]);
	free(t->slots);
	*t = bigger;
	return true;
}

static struct slot *table_find(const struct table *t, const char *key)
{
	uint32_t h = hash_string(key);
	size_t mask = t->cap - 1;
	size_t i, dist;

	if (UNLIKELY(t->cap == 0))
		return NULL;
	for (i = h & mask, dist = 0; t->slots[i].key; i = (i + 1) & mask, dist++) {
		if (probe_distance(t, i) < dist)
			return NULL;   /* it would have displaced this one */
		if (t->slots[i].hash == h && strcmp(t->slots[i].key, key) == 0)
			return &t->slots[i];
	}
	return NULL;
}

/* Returns 1 when a previous value was replaced, 0 when new, -1 on ENOMEM. */
static int table_set(struct table *t, const char *key, const char *value, int line)
{
	struct slot *old = table_find(t, key);
	struct slot s;

	if (old) {
		char *v = strdup(value);

		if (!v)
			return -1;
		free(old->value);
		old->value = v;
		old->line = line;
		return 1;
	}
	if ((t->used + 1) * 100 > t->cap * TABLE_MAX_LOAD && !table_grow(t))
		return -1;
	s.hash = hash_string(key);
	s.line = line;
	s.key = strdup(key);
	s.value = strdup(value);
	if (!s.key || !s.value) {
		free(s.key);
		free(s.value);
		return -1;
	}
	table_place(t, s);
	return 0;
}

static bool table_delete(struct table *t, const char *key)
{
	struct slot *victim = table_find(t, key);
	size_t mask = t->cap - 1;
	size_t i, next;

	if (!victim)
		return false;
	free(victim->key);
	free(victim->value);
	i = (size_t)(victim - t->slots);
	for (;;) {
		next = (i + 1) & mask;
		if (!t->slots[next].key || probe_distance(t, next) == 0)
			break;
		t->slots[i] = t->slots[next];
		i = next;
	}
	memset(&t->slots[i], 0, sizeof(t->slots[i]));
	t->used--;
	return true;
}

/* ------------------------------------------------------------------------ */
/* configuration reader                                                     */
/* ------------------------------------------------------------------------ */

struct reader {
	struct table *out;
	const char   *path;
	char          section[CONF_MAX_NAME];
	int           line;
	int           depth;
	unsigned      errors;
};

static void PRINTF_LIKE(2, 3) complain(struct reader *r, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: ", r->path, r->line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	r->errors++;
}

static char *skip_blank(char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

static void trim_right(char *p)
{
	size_t n = strlen(p);

	while (n > 0 && isspace((unsigned char)p[n - 1]))
		p[--n] = '\0';
}

static bool name_char(int c)
{
	return isalnum(c) || c == '-' || c == '_' || c == '.';
}

/*
 * Undo a quoted string in place.  Understands \" \\ \n \t and \xHH.  Returns a
 * pointer just past the closing quote, or NULL if there is none.
 */
static char *unquote(char *p)
{
	char *w = p;

	assert(*p == '"');
	for (p++; *p && *p != '"'; p++) {
		if (*p != '\\') {
			*w++ = *p;
			continue;
		}
		switch (*++p) {
		case 'n':  *w++ = '\n'; break;
		case 't':  *w++ = '\t'; break;
		case '"':
		case '\\': *w++ = *p;   break;
		case 'x':
			if (isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2])) {
				char hex[3] = { p[1], p[2], '\0' };

				*w++ = (char)strtol(hex, NULL, 16);
				p += 2;
				break;
			}
			/* fall through */
		default:
			return NULL;
		}
	}
	if (*p != '"')
		return NULL;
	*w = '\0';
	return p + 1;
}

static int conf_read_file(struct table *out, const char *path, int depth);

static void handle_include(struct reader *r, const char *target)
{
	char full[PATH_MAX];
	const char *slash = strrchr(r->path, '/');
	int n;

	if (r->depth + 1 >= CONF_MAX_DEPTH) {
		complain(r, "includes nested more than %d deep, giving up", CONF_MAX_DEPTH);
		return;
	}
	if (target[0] == '/' || !slash)
		n = snprintf(full, sizeof(full), "%s", target);
	else
		n = snprintf(full, sizeof(full), "%.*s/%s",
		             (int)(slash - r->path), r->path, target);
	if (n < 0 || (size_t)n >= sizeof(full)) {
		complain(r, "included path is too long");
		return;
	}
	if (conf_read_file(r->out, full, r->depth + 1) != 0)
		complain(r, "problems in included file '%s'", full);
}

static void handle_section(struct reader *r, char *p)
{
	char *start = ++p;

	while (name_char((unsigned char)*p))
		p++;
	if (*p != ']') {
		complain(r, "expected ']' after section name");
		return;
	}
	*p++ = '\0';
	p = skip_blank(p);
	if (*p && *p != '#' && *p != ';')
		complain(r, "junk after section header: '%s'", p);
	if (strlen(start) >= sizeof(r->section)) {
		complain(r, "section name is longer than %zu characters",
		         sizeof(r->section) - 1);
		return;
	}
	strcpy(r->section, start);
}

static void handle_pair(struct reader *r, char *p)
{
	char key[2 * CONF_MAX_NAME + 2];
	char *name = p, *value, *end;
	int n;

	while (name_char((unsigned char)*p))
		p++;
	end = p;
	p = skip_blank(p);
	if (end == name || *p != '=') {
		complain(r, "expected 'key = value'");
		return;
	}
	*end = '\0';
	value = skip_blank(p + 1);

	if (*value == '"') {
		char *after = unquote(value);

		if (!after) {
			complain(r, "bad escape or missing quote in value of '%s'", name);
			return;
		}
		after = skip_blank(after);
		if (*after && *after != '#' && *after != ';')
			complain(r, "text after closing quote ignored");
	} else {
		/* A comment sign only counts when a blank stands before it, so
		 * that colours like #40a060 survive without quotes. */
		for (p = value; *p; p++)
			if ((*p == '#' || *p == ';') && p > value &&
			    isblank((unsigned char)p[-1])) {
				*p = '\0';
				break;
			}
		trim_right(value);
	}

	if (strcmp(name, "include") == 0) {
		handle_include(r, value);
		return;
	}
	n = snprintf(key, sizeof(key), "%s%s%s", r->section,
	             r->section[0] ? "." : "", name);
	if (n < 0 || (size_t)n >= sizeof(key)) {
		complain(r, "key '%s' is too long", name);
		return;
	}
	switch (table_set(r->out, key, value, r->line)) {
	case -1:
		complain(r, "out of memory");
		break;
	case 1:
		fprintf(stderr, "%s:%d: note: '%s' was already set\n",
		        r->path, r->line, key);
		break;
	}
}

static int conf_read_file(struct table *out, const char *path, int depth)
{
	struct reader r = { .out = out, .path = path, .depth = depth };
	char *buf = NULL;
	size_t cap = 0;
	ssize_t len;
	FILE *f = fopen(path, "r");

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	while ((len = getline(&buf, &cap, f)) >= 0) {
		char *p;

		r.line++;
		if ((size_t)len != strlen(buf)) {
			complain(&r, "NUL byte in line, is this really a text file?");
			break;
		}
		trim_right(buf);
		p = skip_blank(buf);
		switch (*p) {
		case '\0':
		case '#':
		case ';':
			continue;
		case '[':
			handle_section(&r, p);
			break;
		default:
			handle_pair(&r, p);
		}
	}
	if (ferror(f))
		complain(&r, "read error: %s", strerror(errno));
	free(buf);
	fclose(f);
	return r.errors ? -1 : 0;
}

/* ------------------------------------------------------------------------ */
/* typed access                                                             */
/* ------------------------------------------------------------------------ */

static const struct { const char *suffix; double factor; } time_units[] = {
	{ "ms", 0.001 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 },
};

const char *conf_str(const struct table *t, const char *key, const char *fallback)
{
	const struct slot *s = table_find(t, key);

	return s ? s->value : fallback;
}

bool conf_bool(const struct table *t, const char *key, bool fallback)
{
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const no[]  = { "no", "false", "off", "0" };
	const char *v = conf_str(t, key, NULL);

	if (!v)
		return fallback;
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (strcmp(v, yes[i]) == 0)
			return true;
		if (strcmp(v, no[i]) == 0)
			return false;
	}
	fprintf(stderr, "%s: '%s' is neither yes nor no\n", key, v);
	return fallback;
}

/* Temperatures are kept in tenths of a degree Celsius, as the sensors do. */
int conf_temp(const struct table *t, const char *key, int fallback)
{
	const char *v = conf_str(t, key, NULL);
	char *end;
	double x;

	if (!v)
		return fallback;
	errno = 0;
	x = strtod(v, &end);
	if (end == v || errno == ERANGE)
		goto bad;
	if (*end == 'F')
		x = (x - 32.0) * 5.0 / 9.0;
	else if (*end != 'C' && *end != '\0')
		goto bad;
	if (x < -40.0 || x > 85.0)
		goto bad;
	return (int)(x * 10.0 + (x < 0 ? -0.5 : 0.5));
bad:
	fprintf(stderr, "%s: '%s' is not a sensible temperature\n", key, v);
	return fallback;
}

double conf_seconds(const struct table *t, const char *key, double fallback)
{
	const char *v = conf_str(t, key, NULL);
	char *end;
	double x;

	if (!v)
		return fallback;
	x = strtod(v, &end);
	if (end != v && x >= 0) {
		if (*end == '\0')
			return x;
		for (size_t i = 0; i < ARRAY_LEN(time_units); i++)
			if (strcmp(end, time_units[i].suffix) == 0)
				return x * time_units[i].factor;
	}
	fprintf(stderr, "%s: cannot read '%s' as a duration\n", key, v);
	return fallback;
}

/*
 * "6:30-21:00" and the like, as used by [lamps] hours = ... .  A range that
 * runs past midnight is legal ("20:00-5:15") and is returned with end < start;
 * the lamp scheduler knows what to make of it.  Both ends are minutes of the
 * day.  Returns false, leaving *from and *to alone, when the text is absent or
 * cannot be understood.
 */
bool conf_hours(const struct table *t, const char *key, int *from, int *to)
{
	const struct slot *s = table_find(t, key);
	unsigned h1, m1, h2, m2;
	int used = 0;

	if (!s)
		return false;
	if (sscanf(s->value, "%2u:%2u - %2u:%2u%n", &h1, &m1, &h2, &m2, &used) != 4 ||
	    s->value[used] != '\0') {
		fprintf(stderr, "line %d: %s: expected H:MM-H:MM, found '%s'\n",
		        s->line, key, s->value);
		return false;
	}
	if (h1 > 24 || h2 > 24 || m1 > 59 || m2 > 59) {
		fprintf(stderr, "line %d: %s: no such time of day\n", s->line, key);
		return false;
	}
	*from = (int)(h1 * 60 + m1);
	*to = (int)(h2 * 60 + m2);
	return true;
}

/*
 * Call fn for every key that starts with "prefix." until it returns false.
 * The order is that of the slots, i.e. none; callers that show the result to
 * people sort it themselves.
 */
void conf_each(const struct table *t, const char *prefix,
               bool (*fn)(const char *rest, const char *value, void *ctx),
               void *ctx)
{
	size_t n = strlen(prefix);

	for (size_t i = 0; i < t->cap; i++) {
		const struct slot *s = &t->slots[i];

		if (!s->key || strncmp(s->key, prefix, n) != 0 || s->key[n] != '.')
			continue;
		if (!fn(s->key + n + 1, s->value, ctx))
			return;
	}
}

#ifdef CONF_SELFTEST
static int by_key(const void *a, const void *b)
{
	return strcmp((*(struct slot *const *)a)->key, (*(struct slot *const *)b)->key);
}

int main(int argc, char **argv)
{
	struct table t;
	struct slot **sorted;
	size_t n = 0;
	int rc;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE [KEY-TO-DELETE...]\n", argv[0]);
		return 2;
	}
	if (!table_init(&t, 0))
		return 1;
	rc = conf_read_file(&t, argv[1], 0);
	for (int i = 2; i < argc; i++)
		if (!table_delete(&t, argv[i]))
			fprintf(stderr, "no such key: %s\n", argv[i]);

	sorted = calloc(t.used + 1, sizeof(*sorted));
	if (!sorted)
		return 1;
	for (size_t i = 0; i < t.cap; i++)
		if (t.slots[i].key)
			sorted[n++] = &t.slots[i];
	qsort(sorted, n, sizeof(*sorted), by_key);
	for (size_t i = 0; i < n; i++)
		printf("%-32s %s\n", sorted[i]->key, sorted[i]->value);
	free(sorted);
	table_free(&t);
	return rc ? 1 : 0;
}
#endif /* CONF_SELFTEST */
