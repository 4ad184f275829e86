//go:build !unix

package accesslog

const nonblock = 0
