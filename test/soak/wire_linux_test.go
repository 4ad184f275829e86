package soak

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
)

// readContent reads content that must be want, delimited by a length, by chunks, or, with
// neither, by the end of the connection if that is allowed (length -2).
func readContent(in *bufio.Reader, want *content, length int, chunked bool) (n int, trailers map[string]string, err error) {
	if !chunked && length < 0 && length != -2 {
		return 0, nil, nil
	}
	buf := make([]byte, 8<<10)
	if !chunked {
		n, err = readPart(in, want, length, buf)
		return n, nil, err
	}
	for {
		line, err := readLine(in)
		if err != nil {
			return n, nil, err
		}
		size, err := strconv.ParseUint(line, 16, 31)
		if err != nil {
			return n, nil, fmt.Errorf("not a chunk: %.80q", line)
		}
		if size == 0 {
			trailers = make(map[string]string)
			return n, trailers, readFields(in, trailers)
		}
		m, err := readPart(in, want, int(size), buf)
		n += m
		if err != nil {
			return n, nil, err
		}
		if line, err := readLine(in); err != nil || line != "" {
			if err == nil {
				err = fmt.Errorf("%.80q behind a chunk", line)
			}
			return n, nil, err
		}
	}
}

// readPart reads so many bytes, or for -2 all there are.
func readPart(in *bufio.Reader, want *content, length int, buf []byte) (n int, err error) {
	for length == -2 || n < length {
		p := buf
		if length >= 0 {
			p = p[:min(len(p), length-n)]
		}
		m, err := in.Read(p)
		if !want.has(p[:m]) {
			return n, fmt.Errorf("wrong content within %d bytes after the first %d: %.40q", m, n, p[:m])
		}
		n += m
		if err == io.EOF && length == -2 {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("%w: %w", errBroken, err)
		}
	}
	return n, nil
}
