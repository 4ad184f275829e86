package discovery

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// What registries write in fields for weights and addresses differs from program to program.
// The functions of this file are the one place that knows the forms; every source reads
// them with these. Their errors do not repeat what they were given.

// Weight checks a weight as a registry gives it. 0 means that the instance takes no new
// requests: out is true.
func Weight(given float64) (weight float64, out bool, err error) {
	switch {
	case math.IsNaN(given) || math.IsInf(given, 0):
		return 0, false, errors.New("the weight is not a number")
	case given < 0:
		return 0, false, errors.New("the weight is negative")
	case given == 0:
		return 0, true, nil
	}
	return given, false, nil
}

// ParseWeight reads a weight that is a text, which may have quotes and spaces around it.
// "" and "null" are none: the weight is 0, which in a Spec means 1, and out is false.
func ParseWeight(text string) (weight float64, out bool, err error) {
	text = strings.TrimSpace(strings.Trim(strings.TrimSpace(text), `"`))
	if text == "" || text == "null" {
		return 0, false, nil
	}
	given, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false, errors.New("the weight is not a number")
	}
	return Weight(given)
}

// Address makes the address of an endpoint of a host and a port that a registry gives
// apart. The host is an IP address, in brackets or not, with or without a zone, an IPv4
// address also in its IPv6 form, or the name of a host; spaces around it mean nothing.
//
// For an IP address, name is empty and address is a literal address and the port. For a
// name, name is that in lower case, without a final dot, and address is the name and the
// port: a Spec with such an Address must be resolved before a service can use it.
func Address(host string, port int) (address, name string, err error) {
	host = strings.TrimSpace(host)
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = strings.TrimSpace(host[1 : len(host)-1])
	}
	switch {
	case host == "":
		return "", "", errors.New("it has no address")
	case port < 1 || port > math.MaxUint16:
		return "", "", fmt.Errorf("%d is not a port", port)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip = ip.Unmap(); ip.IsUnspecified() || ip.IsMulticast() {
			return "", "", errors.New("the address is none that can be reached")
		}
		return netip.AddrPortFrom(ip, uint16(port)).String(), "", nil
	}
	name = strings.ToLower(strings.TrimSuffix(host, "."))
	if err := checkName(name); err != nil {
		return "", "", err
	}
	return net.JoinHostPort(name, strconv.Itoa(port)), name, nil
}

// ParseAddress is Address for a host and a port in one text, host:port. An IPv6 address
// must have brackets.
func ParseAddress(text string) (address, name string, err error) {
	host, port, err := net.SplitHostPort(strings.TrimSpace(text))
	if err != nil {
		return "", "", errors.New("the address has no port, or an IPv6 address no brackets")
	}
	n, err := strconv.ParseUint(strings.TrimSpace(port), 10, 16)
	if err != nil {
		return "", "", errors.New("the port is not a number up to 65535")
	}
	return Address(host, int(n))
}

// checkName accepts the names that can be asked of DNS, with underscores too, and refuses
// what was meant to be an address.
func checkName(name string) error {
	if len(name) > 253 {
		return errors.New("the host name is longer than 253 bytes")
	}
	label := 0
	for i := 0; i <= len(name); i++ {
		switch {
		case i == len(name) || name[i] == '.':
			if label == 0 || label > 63 {
				return errors.New("the address is neither an IP address nor a host name")
			}
			label = 0
			continue
		case 'a' <= name[i] && name[i] <= 'z', '0' <= name[i] && name[i] <= '9', name[i] == '-', name[i] == '_':
		default:
			return errors.New("the address is neither an IP address nor a host name")
		}
		label++
	}
	if last := name[strings.LastIndexByte(name, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return errors.New("the address is neither an IP address nor a host name")
	}
	return nil
}
