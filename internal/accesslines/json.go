package accesslines

// Lines that are a JSON object: Poise's own, and Traefik's. Which one it is tell the names of the
// time.

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// jsonLine has the keys of both.
type jsonLine struct {
	// Poise
	Time     string        `json:"time"`
	Client   string        `json:"client"`
	Method   string        `json:"method"`
	Status   int           `json:"status"`
	Duration float64       `json:"duration_ms"`
	Attempts []jsonAttempt `json:"attempts"`

	// Traefik; its numbers of time are nanoseconds
	StartUTC         string  `json:"StartUTC"`
	ClientHost       string  `json:"ClientHost"`
	RequestMethod    string  `json:"RequestMethod"`
	DownstreamStatus int     `json:"DownstreamStatus"`
	Whole            float64 `json:"Duration"`
	OriginDuration   float64 `json:"OriginDuration"`
	ServiceAddr      string  `json:"ServiceAddr"`
	ServiceURL       any     `json:"ServiceURL"` // a text, or an object in old versions
}

type jsonAttempt struct {
	Endpoint string  `json:"endpoint"`
	Zone     string  `json:"zone"`
	Time     float64 `json:"time_ms"`
}

func parseJSON(line []byte, e *Entry) (format string, err error) {
	var l jsonLine
	if err := json.Unmarshal(line, &l); err != nil {
		return "", fmt.Errorf("not JSON as Poise or Traefik write it: %w", err)
	}
	switch {
	case l.StartUTC != "":
		return "traefik", l.traefik(e)
	case l.Time != "" && l.Attempts != nil || l.Duration > 0:
		return "poise", l.poise(e)
	}
	return "", errors.New("JSON with neither time and attempts, as Poise writes it, nor StartUTC, as Traefik does")
}

func (l *jsonLine) poise(e *Entry) (err error) {
	*e = Entry{Method: l.Method, Client: l.Client, Status: l.Status, Whole: nanoseconds(l.Duration * 1e6)}
	if e.Began, err = time.Parse(time.RFC3339Nano, l.Time); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	if n := len(l.Attempts); n > 0 {
		last := &l.Attempts[n-1]
		e.Took, e.Endpoint, e.Zone = nanoseconds(last.Time*1e6), hostOf(last.Endpoint), last.Zone
	}
	return nil
}

func (l *jsonLine) traefik(e *Entry) (err error) {
	*e = Entry{
		Method: l.RequestMethod, Client: l.ClientHost, Status: l.DownstreamStatus,
		Whole: nanoseconds(l.Whole), Took: nanoseconds(l.OriginDuration), Endpoint: l.ServiceAddr,
	}
	if text, ok := l.ServiceURL.(string); ok && e.Endpoint == "" {
		e.Endpoint = hostOf(text)
	}
	if e.Began, err = time.Parse(time.RFC3339Nano, l.StartUTC); err != nil {
		return fmt.Errorf("StartUTC: %w", err)
	}
	return nil
}

// nanoseconds is -1 where a number is none that a duration can be.
func nanoseconds(n float64) time.Duration {
	if n >= 0 && n < float64(spanMax) {
		return time.Duration(n)
	}
	return -1
}

// hostOf is host:port of a URL, or the text itself if it is none.
func hostOf(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Host
	}
	return text
}
