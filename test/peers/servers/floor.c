/*
 * The floor: what a proxy cannot do without. It copies bytes between a client and an
 * endpoint, connection by connection, by epoll, with no idea of HTTP: a receive and a send
 * each way. Nothing is checked, nothing bounded, nobody balanced over but in turns.
 *
 *     floor LISTEN_PORT ENDPOINT_PORT...     all on 127.0.0.1
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM (16 * 1024) /* as much as the others move at a time by default */
#define FDS 65536

/* A side is one end of a connection; bytes that it received and its other end has not
 * taken yet wait in held. */
struct side {
	int fd, other;
	char *held;
	size_t from, to;
	unsigned wants;
};

static struct side *sides[FDS];
static int epoll;
static char buffer[ROOM];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in local(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static void watch(struct side *s, unsigned events)
{
	if (s->wants == events)
		return;
	struct epoll_event e = { .events = events, .data.fd = s->fd };
	if (epoll_ctl(epoll, s->wants == ~0u ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, s->fd, &e))
		die("epoll_ctl");
	s->wants = events;
}

static void add(int fd, int other)
{
	struct side *s = calloc(1, sizeof *s);
	if (!s || fd >= FDS)
		die("add");
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	s->fd = fd, s->other = other, s->wants = ~0u;
	sides[fd] = s;
	watch(s, EPOLLIN);
}

static void end(int fd)
{
	struct side *s = sides[fd];
	sides[fd] = NULL;
	close(fd);
	free(s->held);
	free(s);
}

/* The endpoint is connected to at once: on the loopback that does not wait. */
static void take(int listener, char **ports, int n)
{
	static int turn;
	int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	if (client < 0)
		return;
	int endpoint = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = local(ports[turn++ % n]);
	if (endpoint < 0 || connect(endpoint, (struct sockaddr *)&a, sizeof a)) {
		close(client);
		if (endpoint >= 0)
			close(endpoint);
		return;
	}
	add(client, endpoint);
	add(endpoint, client);
}

/* settle waits for what s needs next: more to receive, unless its other end has yet to take
 * the last; room to send, if there is something for it. */
static void settle(struct side *s)
{
	struct side *o = sides[s->other];
	watch(s, (s->to > s->from ? 0 : EPOLLIN) | (o->to > o->from ? EPOLLOUT : 0));
}

/* copy moves what s has received to its other end, and stops receiving while that end
 * takes no more. False: the connection is over. */
static int copy(struct side *s)
{
	ssize_t n = recv(s->fd, buffer, sizeof buffer, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN;
	if (n == 0)
		return 0;
	ssize_t m = send(s->other, buffer, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (m < 0 && errno != EAGAIN)
		return 0;
	if (m < 0)
		m = 0;
	if (m < n) {
		if (!s->held && !(s->held = malloc(ROOM)))
			die("malloc");
		s->from = 0, s->to = n - m;
		for (ssize_t i = m; i < n; i++)
			s->held[i - m] = buffer[i];
		settle(s);
		settle(sides[s->other]);
	}
	return 1;
}

/* flush gives s what its other end holds for it. */
static int flush(struct side *s)
{
	struct side *o = sides[s->other];
	if (o->to > o->from) {
		ssize_t m = send(s->fd, o->held + o->from, o->to - o->from, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (m < 0)
			return errno == EAGAIN;
		o->from += m;
	}
	settle(s);
	settle(o);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: floor LISTEN_PORT ENDPOINT_PORT...\n");
		return 2;
	}
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	struct sockaddr_in a = local(argv[1]);
	if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 4096))
		die("listen");
	epoll = epoll_create1(0);
	struct epoll_event e = { .events = EPOLLIN, .data.fd = listener };
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
	static struct epoll_event events[512];
	for (;;) {
		int n = epoll_wait(epoll, events, 512, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			struct side *s = fd == listener ? NULL : sides[fd];
			if (fd == listener) {
				take(listener, argv + 2, argc - 2);
				continue;
			}
			if (!s) /* ended in this batch, by its other end */
				continue;
			int ok = 1;
			if (events[i].events & EPOLLOUT)
				ok = flush(s);
			else if (events[i].events)
				ok = copy(s);
			if (!ok) {
				end(s->other);
				end(fd);
			}
		}
	}
}
