package tags

import (
	"math"
	"reflect"
	"testing"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]int{
		"0B": 0, "1B": 1, "1000B": 1000, "64KiB": 64 << 10, "3MiB": 3 << 20, "1GiB": 1 << 30,
	} {
		if n, ok := ParseSize(text); !ok || n != want {
			t.Errorf("%s: %d, %v", text, n, ok)
		}
		if got := Size(want); got != text {
			t.Errorf("%d is written %s, want %s", want, got, text)
		}
		if v, err := Value(reflect.TypeFor[int](), text); err != nil || int(v.Int()) != want {
			t.Errorf("the tag %s: %v, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "B", "64", "64KB", "64 KiB", "-1KiB", "+1KiB", "01KiB", "1.5MiB", "64kib", "9223372036854775807KiB"} {
		if n, ok := ParseSize(text); ok {
			t.Errorf("%q is taken for %d bytes", text, n)
		}
	}
	if got := Size(math.MaxInt); got == "" {
		t.Error("a large size is not written")
	}
}
