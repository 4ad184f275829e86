package engine

import "syscall"

// The errors of Windows Sockets are numbers of their own.
const (
	wsaEMFILE        = syscall.Errno(10024)
	wsaEADDRNOTAVAIL = syscall.Errno(10049)
	wsaENOBUFS       = syscall.Errno(10055)
)

// short reports whether errno says that descriptors, buffers or memory ran out.
func short(errno syscall.Errno) bool {
	switch errno {
	case wsaEMFILE, wsaENOBUFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM:
		return true
	}
	return false
}

func noAddress(errno syscall.Errno) bool {
	return errno == wsaEADDRNOTAVAIL || errno == syscall.EADDRNOTAVAIL
}
