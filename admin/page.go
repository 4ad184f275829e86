package admin

// The page: HTML, a style sheet, modules and two catalogues of words, embedded as they are; there
// is no build step. Each file has an ETag of its content, so that a browser asks again after an
// upgrade and loads nothing otherwise, and is sent compressed where that is accepted.

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise"
)

//go:embed page
var pageFiles embed.FS

// pageTypes are the types of the page's files. The table of the system is not asked: on some
// systems it says that modules are text/plain, which browsers refuse.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json; charset=utf-8",
}

// A pageFile is one file, ready to be sent. It is never modified.
type pageFile struct {
	kind   string // Content-Type
	tag    string // ETag, of the plain content
	plain  []byte
	packed []byte // by gzip
}

// pages are the files by their name; "": index.html. They are made when the first is asked for.
var pages = sync.OnceValue(func() map[string]*pageFile {
	all := make(map[string]*pageFile)
	entries, err := fs.ReadDir(pageFiles, "page")
	if err != nil {
		panic(err) // they are embedded
	}
	for _, e := range entries {
		data, err := pageFiles.ReadFile(path.Join("page", e.Name()))
		if err != nil {
			panic(err)
		}
		all[e.Name()] = newPageFile(e.Name(), data)
	}
	all[""] = all["index.html"]
	return all
})

func newPageFile(name string, data []byte) *pageFile {
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is valid
	z.Write(data)                                              // a Buffer takes everything
	z.Close()
	sum := sha256.Sum256(data)
	return &pageFile{kind: pageTypes[path.Ext(name)], tag: hex.EncodeToString(sum[:8]), plain: data, packed: packed.Bytes()}
}

// page serves the files of the page.
func page(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "there is nothing to change at "+clip(r.URL.Path))
		return
	}
	f := pages()[strings.TrimPrefix(r.URL.Path, "/")]
	if f == nil {
		refuse(w, http.StatusNotFound, "there is nothing at "+clip(r.URL.Path)+": the page is at /, the API at /api/v1")
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache") // kept, but asked for again each time
	h.Set("Vary", "Accept-Encoding")
	data, tag := f.plain, f.tag
	if acceptsGzip(r.Header) {
		data, tag = f.packed, f.tag+"-gzip"
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// acceptsGzip reports whether a client takes gzip. Browsers name it without a weight; a client
// that gives it one gets plain content, which is right for every weight.
func acceptsGzip(h http.Header) bool {
	for _, line := range h.Values("Accept-Encoding") {
		for word := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(word) == "gzip" {
				return true
			}
		}
	}
	return false
}

// shown is the word that the page has for the state of an endpoint: out by an operator's drain is
// draining to the one who drains it.
func shown(e *poise.EndpointStatus) string {
	for i := range e.Overrides {
		if e.Word == "out" && e.Overrides[i].Kind == "drain" {
			return "draining"
		}
	}
	return e.Word
}
