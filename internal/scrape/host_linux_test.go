package scrape

import (
	"os"
	"testing"
	"time"
)

// What /proc says of this process is plausible, and grows where it has to.
func TestHost(t *testing.T) {
	one, ok := readHost()
	if !ok {
		t.Fatal("there is no /proc")
	}
	if one.files < 3 || one.filesMax < one.files || one.resident == 0 || one.virtual < one.resident {
		t.Errorf("%+v", one)
	}
	if age := time.Since(one.started); age < -2*time.Second || age > time.Hour {
		t.Errorf("the process began %v ago", age)
	}
	var held []*os.File
	for range 100 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		held = append(held, f)
	}
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		two, _ := readHost()
		if two.files < one.files+100 || !two.started.Equal(one.started) {
			t.Fatalf("%+v, then %+v", one, two)
		}
		if two.cpu > one.cpu {
			break
		}
	}
	counted, err := countFiles()
	if said, _ := openFiles(); err != nil || counted < 100 || said > counted+5 || counted > said+5 {
		t.Errorf("%d are counted, %d are said, %v", counted, said, err)
	}
	_ = held
}

// The name of a program may have blanks and parentheses.
func TestStat(t *testing.T) {
	h, begun, err := parseStat([]byte("12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 9 0 700 4096000 25 18446744073709551615 1\n"))
	if err != nil || h.cpu != 3*time.Second || begun != 7*time.Second || h.virtual != 4096000 || h.resident != 25*uint64(os.Getpagesize()) {
		t.Errorf("%+v, %v, %v", h, begun, err)
	}
	for _, bad := range []string{"", "12 (a) S 1", "12 (a) S 1 2 3 4 5 6 7 8 9 10 x 50 0 0 20 0 9 0 700 4096000 25"} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
