package loop

import (
	"io"
	"os"
	"time"

	"github.com/poise-lb/poise/internal/engine"
	"github.com/poise-lb/poise/internal/invariants"
	"golang.org/x/sys/unix"
)

const (
	// pipeBytes is the size of a pipe, and so the most that is moved at once.
	pipeBytes = 256 << 10
	// pipeMin is the least a pipe must hold: a user of the system that has many gets only small ones.
	pipeMin = 64 << 10
	// pipesMax bounds the pipes of a loop that are in use. A client that is slow keeps one
	// for as long as it takes; where there is none left, content is copied.
	pipesMax = 128
	// pipesSpare bounds those that are kept for later.
	pipesSpare = 16
	// spliceUnit is how much counts like one of the reads and writes of a burst.
	spliceUnit = 8 << 10
)

// Splicing moves content from socket to socket through a pipe in the kernel: neither end is
// copied to this program. A pipe that is not empty after a failure is closed.

// A pipe is both ends of one. The zero value is none.
type pipe struct {
	in, out int
	size    int // 0: none
}

// pipes are those of a loop.
type pipes struct {
	spare []pipe // all empty
	used  int
}

// take returns an empty pipe, or none if there are too many already, of this loop or in
// the eyes of the kernel.
func (p *pipes) take() pipe {
	if p.used >= pipesMax {
		return pipe{}
	}
	if n := len(p.spare); n > 0 {
		got := p.spare[n-1]
		p.spare = p.spare[:n-1]
		p.used++
		return got
	}
	var fd [2]int
	if unix.Pipe2(fd[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return pipe{}
	}
	made := pipe{out: fd[0], in: fd[1]}
	size, err := unix.FcntlInt(uintptr(made.in), unix.F_SETPIPE_SZ, pipeBytes)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(made.in), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil || size < pipeMin {
		made.close()
		return pipe{}
	}
	made.size = size
	p.used++
	return made
}

// give takes back a pipe that has held bytes left in it. One that is not empty is closed:
// the next exchange would send them.
func (p *pipes) give(back pipe, held int) {
	p.used--
	if held > 0 || len(p.spare) >= pipesSpare {
		back.close()
		return
	}
	if invariants.Enabled {
		if n, err := unix.IoctlGetInt(back.out, unix.TIOCINQ); err != nil || n != 0 {
			panic("loop: a pipe is given back that is not empty")
		}
	}
	p.spare = append(p.spare, back)
}

func (p pipe) close() {
	closeFD(p.in)
	closeFD(p.out)
}

// closeAll closes those that are not in use. The loop has ended.
func (p *pipes) closeAll() {
	for _, spare := range p.spare {
		spare.close()
	}
	p.spare = nil
}

// A passage is a Splice under way. For example, of 300 KiB by a pipe of 256 KiB:
//
//	fill    src has 100 KiB: they go into the pipe
//	drain   dst takes 60 KiB, then 40 KiB after an event; the pipe is empty
//	fill    src has nothing: the pipe is given back, the task waits without one
//	fill    src has 200 KiB: a pipe is taken, they go into it
//	drain   dst takes 200 KiB
//
// Bytes are taken from src only when the pipe is empty: a
// pipe that is full and a socket that is empty say the same, and so it is the latter.
type passage struct {
	loop      *loop
	dst, src  *stream
	left      int64 // to be taken
	stall, by time.Duration

	pipe            pipe // none while the passage waits for src
	held            int  // bytes in it
	readBy, writeBy time.Duration
	moved           engine.Moved
}

// splice is Splice of two plain streams of this loop: up to n bytes, each wait of stall at
// most, reading until by; zero: no bound. If it returns fewer without an error, the caller
// goes on by reading and writing.
func (l *loop) splice(dst, src *stream, n int64, stall, by time.Duration) engine.Moved {
	p := passage{loop: l, dst: dst, src: src, left: n, stall: stall, by: by, readBy: src.readBy, writeBy: dst.writeBy}
	for p.left > 0 && p.fill() && p.drain() {
	}
	p.release()
	return p.moved
}

// release lets go of the pipe.
func (p *passage) release() {
	if p.pipe.size > 0 {
		p.loop.pipes.give(p.pipe, p.held)
		p.pipe = pipe{}
	}
}

// fill waits for src and takes what there is and fits into the pipe. It returns false at
// the end.
func (p *passage) fill() bool {
	s := p.src
	p.boundRead()
	for {
		p.loop.Spend()
		switch {
		case p.interrupted():
			return false
		case s.readBy != 0 && s.readBy <= p.loop.Instant():
			p.moved.ReadErr = engine.ErrTimeout
			return false
		case s.flags&readable == 0:
			p.release()
			p.wait(s, s.readBy)
			continue
		}
		if p.pipe.size == 0 {
			if p.pipe = p.loop.pipes.take(); p.pipe.size == 0 {
				return false
			}
		}
		n, errno := splice(int(s.fd), p.pipe.in, int(min(p.left, int64(p.pipe.size))))
		switch {
		case errno == 0 && n > 0:
			p.held = n
			p.left -= int64(n)
			p.moved.Taken += int64(n)
			p.loop.Charge(n / spliceUnit)
			return true
		case errno == unix.EAGAIN && s.flags&sticky == 0:
			s.flags &^= readable
		case errno == unix.EINTR:
		case errno == 0, errno == unix.EAGAIN, errno == unix.EINVAL:
			return false // the end of src, urgent data, or a socket that cannot: a Read says which
		default:
			s.fail(os.NewSyscallError("splice", errno))
			p.moved.ReadErr = s.why
			return false
		}
	}
}

// drain passes on all that the pipe holds. It returns false if that cannot be done.
func (p *passage) drain() bool {
	s := p.dst
	p.boundWrite()
	for p.held > 0 {
		p.loop.Spend()
		switch {
		case p.interrupted():
			return false
		case s.writeBy != 0 && s.writeBy <= p.loop.Instant():
			p.moved.WriteErr = engine.ErrTimeout
			return false
		case s.flags&full != 0:
			p.wait(s, s.writeBy)
			continue
		}
		n, errno := splice(p.pipe.out, int(s.fd), p.held)
		var err error
		switch {
		case errno == 0 && n > 0:
			p.held -= n
			p.moved.Given += int64(n)
			p.loop.Charge(n / spliceUnit)
			p.boundWrite()
		case errno == 0:
			err = io.ErrNoProgress
		case errno == unix.EAGAIN:
			err = s.askOut()
		case errno != unix.EINTR:
			err = s.sendFailed("splice", errno)
		}
		if err != nil {
			p.moved.WriteErr = err
			return false
		}
	}
	return true
}

// interrupted notes that one of the streams is not to be used any more.
func (p *passage) interrupted() bool {
	if p.moved.ReadErr = p.src.why; p.moved.ReadErr == nil {
		p.moved.WriteErr = p.dst.why
	}
	return p.moved.ReadErr != nil || p.moved.WriteErr != nil
}

// wait parks until something happens to either stream: also the one that the task does not
// wait for may be interrupted.
func (p *passage) wait(s *stream, by time.Duration) {
	if invariants.Enabled && (p.src.reader != nil || p.src.ready != nil || p.dst.writer != nil) {
		panic("loop: two tasks use one side of a stream")
	}
	p.src.reader, p.dst.writer = p.loop.Current(), p.loop.Current()
	s.arm(by)
	p.loop.Park()
	p.src.reader, p.dst.writer = nil, nil
}

// boundRead moves the deadline of src on, unless another task has set it.
func (p *passage) boundRead() {
	if p.src.readBy != p.readBy {
		return
	}
	p.readBy = p.by
	if at := p.loop.Instant() + p.stall; p.stall != 0 && (p.by == 0 || at < p.by) {
		p.readBy = at
	}
	p.src.SetReadDeadline(p.readBy)
}

// boundWrite does so for dst.
func (p *passage) boundWrite() {
	if p.dst.writeBy != p.writeBy {
		return
	}
	p.writeBy = 0
	if p.stall != 0 {
		p.writeBy = p.loop.Instant() + p.stall
	}
	p.dst.SetWriteDeadline(p.writeBy)
}
