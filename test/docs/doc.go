// Package docs checks the documents against the code: snippets, links, keys and defaults
// of the configuration, names of steps, reasons, import ranks. It has tests only.
package docs
