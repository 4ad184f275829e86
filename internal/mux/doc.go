// Package mux is one HTTP/2 connection, on either side: many streams, each used by tasks of its
// own, over one engine.Stream. Frames and heads are those of package http2; which of them may come
// when, how much may be sent, who writes next and what a peer may cost are decided here. The
// same code serves clients (Options.Server) and calls endpoints.
//
// One task at a time reads. It takes frames apart, puts what they carry into their streams, and
// wakes the tasks that wait for it. Tasks of streams append frames to one buffer; a task that is
// started behind all tasks that are ready writes it. So the answers of one turn leave in one
// write, under TLS in one record, which is what makes HTTP/2 cheaper than HTTP/1.1:
//
//	read      HEADERS 1, HEADERS 3, WINDOW_UPDATE       one system call
//	task 1    HEADERS 1, DATA 1 (END_STREAM)            appended; the writing task is started
//	task 3    HEADERS 3, DATA 3 (END_STREAM)            appended
//	write     all four frames                           one system call
//
// # Memory
//
// What has come for a stream and was not taken yet is bounded by the stream's window, which
// begins small and grows from a budget of the connection when content comes: see window.go. The
// connection's own window is no limit, so a stream that is not read never holds up the others.
// What is to be sent is bounded by outMost: above it heads and content wait in a line: see
// write.go. Buffers are taken when something is in them; an idle connection has none.
//
// # Back-pressure
//
// It is local by construction. An endpoint that reads slowly: the task that sends the upload
// waits in Write, takes no more from its client's stream, and that stream gets no credit, while
// the rest of the client's connection goes on. The same holds the other way round.
//
// # Locking
//
// Conn.lock keeps tasks of the worker apart between two waits; on event loops it costs nothing.
// It is never held across a wait. A stream whose client has left interrupts the call to the
// endpoint while the lock is held, so the order is: the client's connection, then the
// endpoint's. Fields say which task they belong to if the lock does not guard them.
package mux
