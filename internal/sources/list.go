package sources

// Endpoint lists in files. This package reads JSON, with the library that the log is linked
// with anyway; a YAML parser is half a megabyte, and a kind of its own (sources.File). Both
// take the same lists and reject the same entries.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/poise-lb/poise/config"
	"github.com/poise-lb/poise/discovery"
	"github.com/poise-lb/poise/discovery/file"
	"github.com/poise-lb/poise/endpoint"
	"github.com/poise-lb/poise/internal/nearest"
)

// fromJSON is the source of a file that this package can read. path is the place of the
// file's name in the configuration.
func fromJSON(path, name string) (discovery.Source, error) {
	if ext := strings.ToLower(filepath.Ext(name)); ext == ".yaml" || ext == ".yml" {
		return nil, config.NewErrors(config.Problem{Path: config.Key(path, "path"), Value: name, Message: notLinked("file")})
	}
	return file.New(name, func(data []byte) ([]endpoint.Spec, []discovery.Reject, error) {
		list, rejects, err := parseJSON(name, data)
		if err != nil {
			return nil, nil, err
		}
		return Listed(name, list, rejects)
	}), nil
}

// parseJSON reads a list of URLs, or of objects with the keys of an entry, alone or under the key
// endpoints. Entries that are not understood, or name an endpoint of an earlier
// one, are rejected; a file that is no list is an error.
func parseJSON(name string, data []byte) ([]config.Endpoint, []discovery.Reject, error) {
	entries, err := entriesOf(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	list := []config.Endpoint{}
	var rejects []discovery.Reject
	seen := make(map[string]bool)
	for i, raw := range entries {
		e, err := parseEntry(raw)
		if err == nil {
			err = e.Validate()
		}
		if err == nil {
			if spec, _, bad := e.Parse(); bad == nil && seen[spec.URL()] {
				err = fmt.Errorf("%s is listed twice", e.URL)
			} else {
				seen[spec.URL()] = true
			}
		}
		if err != nil {
			rejects = append(rejects, discovery.Reject{ID: e.URL, Reason: fmt.Sprintf("%s: endpoints[%d]: %v", name, i, err)})
			continue
		}
		list = append(list, e)
	}
	return list, rejects, nil
}

// entriesOf finds the list in a file.
func entriesOf(data []byte) (entries []json.RawMessage, err error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	switch {
	case len(data) == 0:
		return nil, errors.New("the file is empty")
	case data[0] == '{':
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data, &fields); err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			if key != "endpoints" {
				return nil, fmt.Errorf("there is no key %s, only endpoints", key)
			}
		}
		data = fields["endpoints"]
	case data[0] != '[':
		return nil, errors.New(`no list in JSON, which begins with "[" or with {"endpoints": [; ` + notLinked("file"))
	}
	if err := json.Unmarshal(data, &entries); err != nil || entries == nil {
		return nil, errors.Join(errors.New("endpoints is no list"), err)
	}
	return entries, nil
}

// entryKeys are those of an entry that is more than a URL.
var entryKeys = []string{"url", "weight", "drain", "zone", "priority", "backup", "metadata"}

// keyList names entryKeys.
const keyList = "url, weight, drain, zone, priority, backup and metadata"

// parseEntry reads one entry. As much of it as was understood is returned with an error.
func parseEntry(raw json.RawMessage) (e config.Endpoint, err error) {
	if raw[0] == '"' {
		return e, json.Unmarshal(raw, &e.URL)
	}
	var fields map[string]json.RawMessage
	if raw[0] != '{' || json.Unmarshal(raw, &fields) != nil {
		return e, errors.New("an entry is a URL, or has " + keyList)
	}
	for _, key := range slices.Concat(entryKeys, slices.Sorted(maps.Keys(fields))) {
		value, given := fields[key]
		if !given {
			continue
		}
		delete(fields, key) // known ones come twice
		if bad := setField(&e, key, value); bad != nil && err == nil {
			err = fmt.Errorf("%s: %w", key, bad)
		}
	}
	return e, err
}

// setField is one key of an entry.
func setField(e *config.Endpoint, key string, value json.RawMessage) error {
	if string(value) == "null" {
		return errors.New("no value is given: leave it out for the default")
	}
	switch key {
	case "url":
		return json.Unmarshal(value, &e.URL)
	case "weight":
		err := json.Unmarshal(value, &e.Weight)
		if err == nil && e.Weight == 0 {
			e.Drain = true
		}
		return err
	case "drain":
		drain := false
		err := json.Unmarshal(value, &drain)
		e.Drain = e.Drain || drain
		return err
	case "zone":
		return json.Unmarshal(value, &e.Zone)
	case "priority":
		return json.Unmarshal(value, &e.Priority)
	case "backup":
		return json.Unmarshal(value, &e.Backup)
	case "metadata":
		return setMetadata(e, value)
	}
	if near := nearest.Word(key, entryKeys); near != "" {
		return fmt.Errorf("there is no such key; did you mean %s?", near)
	}
	return errors.New("there is no such key: they are " + keyList)
}

// setMetadata is the key metadata of an entry: texts, and numbers and booleans as they are written.
func setMetadata(e *config.Endpoint, value json.RawMessage) error {
	var given map[string]json.RawMessage
	if json.Unmarshal(value, &given) != nil {
		return errors.New("a mapping of texts is expected here")
	}
	e.Metadata = make(map[string]string, len(given))
	for key, raw := range given {
		text := string(raw)
		switch {
		case raw[0] == '"':
			if err := json.Unmarshal(raw, &text); err != nil {
				return err
			}
		case raw[0] == '{', raw[0] == '[', text == "null":
			return fmt.Errorf("%s: a text is expected here", key)
		}
		e.Metadata[key] = text
	}
	return nil
}

// Listed turns the entries of a file into endpoints, and adds to rejects those that cannot be
// used: host names are not resolved here. If none can be used that is an error.
func Listed(name string, list []config.Endpoint, rejects []discovery.Reject) ([]endpoint.Spec, []discovery.Reject, error) {
	specs := make([]endpoint.Spec, 0, len(list))
	for _, e := range list {
		spec, host, err := e.Parse()
		if err == nil && host != "" {
			err = fmt.Errorf("a list in a file takes addresses; resolve %s by a source of its own", host)
		}
		if err != nil {
			rejects = append(rejects, discovery.Reject{ID: e.URL, Reason: name + ": " + err.Error()})
			continue
		}
		specs = append(specs, spec)
	}
	if len(specs) == 0 && len(rejects) > 0 {
		return nil, nil, fmt.Errorf("no entry can be used: %s: %s", rejects[0].ID, rejects[0].Reason)
	}
	return specs, rejects, nil
}
