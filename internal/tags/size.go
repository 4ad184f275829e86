package tags

import (
	"math"
	"strconv"
	"strings"
)

// Sizes are numbers of bytes with a unit. The units are the binary ones, because memory is
// meant; KB and MB are not among them, because readers disagree about what they are.

// sizeUnits are the units of a size, the largest first.
var sizeUnits = []struct {
	name  string
	bytes int
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// ParseSize reads a whole number with the unit B, KiB, MiB or GiB, such as "64KiB".
func ParseSize(text string) (bytes int, ok bool) {
	for _, u := range sizeUnits {
		digits, found := strings.CutSuffix(text, u.name)
		if !found {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || strconv.Itoa(n) != digits || n > math.MaxInt/u.bytes {
			return 0, false
		}
		return n * u.bytes, true
	}
	return 0, false
}

// Size writes a number of bytes with the largest unit that leaves it whole.
func Size(bytes int) string {
	for _, u := range sizeUnits {
		if bytes != 0 && bytes%u.bytes == 0 {
			return strconv.Itoa(bytes/u.bytes) + u.name
		}
	}
	return "0B"
}
