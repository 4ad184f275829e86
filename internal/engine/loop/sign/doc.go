// Package sign keeps the slow signatures of TLS handshakes off event loops. A signature
// with 2,048 bits of RSA takes a millisecond, and everything else on the loop would wait for
// it. So a few goroutines compute it (sched.Loop.Compute), the task that performs the
// handshake waits for it, and the loop serves its other connections meanwhile:
//
//	task of the loop                       goroutine
//	crypto/tls asks for a certificate
//	    a copy whose key is a signer
//	crypto/tls calls signer.Sign
//	    Compute: the task is parked   ---> the real key signs
//	    (the loop runs other tasks)
//	    the task is resumed           <--- a message with the result
//	crypto/tls goes on
//
// Keys on P-256 and Ed25519 sign in some ten microseconds, less than it costs to involve a
// goroutine, and are used as they are.
//
// The package knows certificates, keys and loops, but no sockets and no records of TLS:
// package loop has those. It exists on Linux; elsewhere it is empty.
package sign
