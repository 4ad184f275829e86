// Package loop runs exchanges on event loops, one per processor: epoll reports which sockets
// are ready, and the tasks that wait for them are coroutines, switched past Go's scheduler.
// It exists on Linux; elsewhere the package is empty.
//
// Two packages are below: sched has the loops themselves (tasks, timers, waiting, messages),
// and sign keeps slow signatures off them. The files here are in layers, and each uses only
// what is in its own layer or a lower one, which a test checks:
//
//	runtime   what tasks see: Dial, Watch, Splice        runtime
//	TLS       a stream under TLS, and its handshake      tls, tlsclose, handshake, transport
//	sockets   streams                                    stream, read, write, leave
//	          connecting, moving content, buffers        dial, splice, buffers
//	          engine and listeners                       engine, loop, listen, accept, arrival
//	          what the kernel is asked                   syscall, address
//
// A connection of a client, on its way up:
//
//	accept_linux.go     a loop accepts it, unless there are too many
//	arrival_linux.go    this loop or the emptiest gets it, and starts its task
//	                    the task calls Serve with the stream, on which the caller may have
//	handshake_linux.go  TLS.Secure perform a handshake
//	tls_linux.go        and then reads and writes the stream that this returned
//
// # What may happen on a loop
//
// A loop runs one task at a time, until that task waits: in a Stream's Await, Read or
// Write, in Dial, Sleep, Signal.Wait, Wakeup.Wait, Join.Wait or Do. Everything else delays
// every other connection of the loop:
//
//   - No task may wait in another way: for a channel, for a lock that is held across a
//     wait, for a file or a name server. Runtime.Do is for that. A mutex that is held for
//     some instructions is fine; one that is held across a wait of the list above is not:
//     the next task of the same loop that takes it stops the loop for good.
//   - No task may compute for long. A millisecond is long.
//   - Streams, and all of a Runtime but Now and Rand, belong to the tasks of one loop; a
//     Signal may be Set from anywhere.
//   - A task must not call runtime.LockOSThread. It may end by runtime.Goexit.
//
// Engine.Watch finds the tasks that break the first two.
//
// # TLS
//
// A TLS makes a Stream under TLS of one that is not. A full handshake of TLS 1.3 (X25519
// with ML-KEM) costs a server about 450 µs with a key on P-256, 800 µs on P-384 and 1.5 ms
// with 2,048 bits of RSA; a resumed one 370 µs. What takes so long of the latter two is the
// signature, and that is computed on a few goroutines, half as many as there are
// processors: the client waits for it, the loop does not. Of the rest, a loop does only
// some between two looks at its connections.
//
// A connection that waits for the next request costs 7 KiB, after records of full size 14:
// buffers, keys and state of crypto/tls, but for 400 bytes. It has no coroutine.
//
// Now is the instant at which the calling task was resumed: it stands still while the
// task runs, and costs next to nothing.
package loop
