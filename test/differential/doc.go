// Package differential plays one input against two proxies, one per engine, and compares
// what the world sees of them: the bytes a client gets, the bytes every connection of an
// endpoint gets, how connections end, and all of that after every step, so that bytes that
// are held back are seen, too. The event loop has to do what goroutines do.
//
// An input is a script: see script. Its steps are taken one after the other: the next one is
// taken when nothing moves any more in this process, so that scripts need no pauses and
// leave hardly anything to chance. What two engines may do differently is said, with its
// reason, where it is let pass: in compare.
package differential
