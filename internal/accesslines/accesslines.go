// Package accesslines reads access logs line by line: what of a request is needed to let it come
// again. It knows the formats by their looks, so none has to be named:
//
//	Poise, format json       {"time":"…","client":"…","duration_ms":2.097,"attempts":[…]}
//	Traefik, JSON            {"StartUTC":"…","ClientHost":"…","Duration":2097000,"OriginDuration":…}
//	combined                 203.0.113.9 - - [28/Nov/2026:20:31:59 +0000] "GET / HTTP/1.1" 200 463 "-" "curl"
//	combined with times      … "curl" rt=0.002 uaddr="10.0.0.1:80" urt="0.002"
//	Envoy, default text      [2026-11-28T20:31:59.844Z] "GET / HTTP/1.1" 200 - 0 463 2 1 "-" "curl" "…" "host" "10.0.0.1:80"
//
// combined is that of Poise, nginx and Apache. Behind it may stand what nginx's log_format adds
// by the widespread names rt ($request_time), urt ($upstream_response_time) and uaddr
// ($upstream_addr), in any order among others.
//
// A line that is none of these is no error: it is counted, and the first ones are kept with the
// reason, because logs have torn lines at their ends.
package accesslines

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// An Entry is one request. What its line does not say is zero.
type Entry struct {
	Began    time.Time
	Method   string
	Client   string // address, without port
	Status   int
	Whole    time.Duration // from its begin to the end of the response
	Took     time.Duration // of that, at the endpoint which answered
	Endpoint string        // host:port of that endpoint
	Zone     string        // of that endpoint
}

// Repeatable reports whether the method is idempotent (RFC 9110 §9.2.2); a line without a method
// counts as one.
func (e *Entry) Repeatable() bool {
	switch e.Method {
	case "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "":
		return true
	}
	return false
}

// A Skipped is a line that could not be read.
type Skipped struct {
	Line   int // from 1
	Reason string
}

// A Summary says what Read has met.
type Summary struct {
	Format  string // of the last line that was read: poise, traefik, combined or envoy
	Read    int
	Skipped int       // lines that could not be read; empty ones are not counted
	First   []Skipped // the first few of them
	Coarse  bool      // times are whole seconds
}

const (
	lineMax  = 1 << 20
	keptMax  = 3
	yearsMin = 1970
	yearsMax = 2261 // what a time.Duration since then can hold
)

// Read calls add for each request of a log, in the order of its lines; the entry is valid until add
// returns. An error of add ends it, and so does one of r. That nothing could be read is an error,
// too, with the first reasons.
func Read(r io.Reader, add func(*Entry) error) (Summary, error) {
	var sum Summary
	lines := bufio.NewReaderSize(r, 64<<10)
	var seconds secondsSpreader
	for n := 1; ; n++ {
		line, err := readLine(lines)
		if len(line) > 0 {
			var e Entry
			format, bad := parse(line, &e)
			switch {
			case bad != nil:
				sum.skip(n, bad)
			default:
				sum.Format, sum.Read = format, sum.Read+1
				if format == "combined" {
					sum.Coarse = seconds.spread(&e) || sum.Coarse
				}
				if err := add(&e); err != nil {
					return sum, err
				}
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return sum, err
		}
	}
	if sum.Read == 0 {
		return sum, sum.nothing()
	}
	return sum, nil
}

func (s *Summary) skip(n int, why error) {
	s.Skipped++
	if len(s.First) < keptMax {
		s.First = append(s.First, Skipped{n, why.Error()})
	}
}

func (s *Summary) nothing() error {
	if s.Skipped == 0 {
		return errors.New("the log is empty")
	}
	err := "no line could be read as the log of Poise (json, combined), nginx (combined), Envoy (default) or Traefik (JSON)"
	for _, one := range s.First {
		err += fmt.Sprintf("; line %d: %s", one.Line, one.Reason)
	}
	return errors.New(err)
}

// readLine returns the next line without its end; of one longer than lineMax it returns the
// beginning. Its error may come with a line.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return bytes.TrimSpace(line), err
	}
	long := bytes.Clone(line)
	for err == bufio.ErrBufferFull {
		line, err = r.ReadSlice('\n')
		if len(long) < lineMax {
			long = append(long, line...)
		}
	}
	return bytes.TrimSpace(long), err
}

// parse reads a line, whose first byte tells which formats it may have.
func parse(line []byte, e *Entry) (format string, err error) {
	switch line[0] {
	case '{':
		format, err = parseJSON(line, e)
	case '[':
		format, err = "envoy", parseEnvoy(line, e)
	default:
		format, err = "combined", parseCombined(line, e)
	}
	if err == nil {
		err = e.check()
	}
	return format, err
}

// check refuses what arithmetic could not bear.
func (e *Entry) check() error {
	if y := e.Began.Year(); y < yearsMin || y > yearsMax {
		return fmt.Errorf("the time %v is out of range", e.Began)
	}
	if e.Whole < 0 || e.Took < 0 || e.Whole > spanMax || e.Took > spanMax {
		return errors.New("a duration is out of range")
	}
	if e.Endpoint == "-" {
		e.Endpoint = ""
	}
	return nil
}

// short stands for a time that a log rounds to 0 ms, which is not the same as one that it does not have.
const short = 500 * time.Microsecond

// spanMax is longer than any request.
const spanMax = 365 * 24 * time.Hour

// A secondsSpreader spreads requests over the second that their lines name, as evenly as they
// stand there: the n-th line of a second is n golden sections of a second behind its begin, so
// that any number of lines fill it without a gap.
type secondsSpreader struct {
	second time.Time
	n      int
}

// golden is the golden section of a second.
const golden = 618033989

// spread reports whether e's time was a whole second.
func (s *secondsSpreader) spread(e *Entry) bool {
	if e.Began.Nanosecond() != 0 || e.Whole > 0 {
		return false
	}
	if !e.Began.Equal(s.second) {
		s.second, s.n = e.Began, 0
	}
	s.n++
	e.Began = e.Began.Add(time.Duration(s.n * golden % int(time.Second)))
	return true
}
