package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/poise-lb/poise/discovery/internal/client"
)

// A web speaks the HTTP interface: the login, and lists where there are no pushes. It
// belongs to one goroutine.
type web struct {
	config Config
	client *http.Client

	accepted string    // token of the last login
	renewAt  time.Time // when to log in again
	expireAt time.Time
}

func newWeb(c Config) *web {
	return &web{config: c, client: client.NewHTTP(client.Options{Dial: c.dial, TLS: c.TLS, Timeout: c.Timeout, Direct: true})}
}

// do sends a request and returns the answer and its content.
func (w *web) do(ctx context.Context, method, address string, form url.Values) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, w.config.Timeout)
	defer cancel()
	header := make(http.Header)
	var content []byte
	if form != nil {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		content = []byte(form.Encode())
	}
	if w.accepted != "" {
		header.Set("accessToken", w.accepted)
	}
	res, err := client.Send(ctx, w.client, method, address, header, content)
	if err != nil {
		return nil, nil, err
	}
	data, err := client.Read(ctx, res, messageMax)
	return res, data, err
}

// token returns what to send with requests: nothing without a user. A token is renewed
// when four fifths of its life are over; if that fails, it is used as long as it lasts.
func (w *web) token(ctx context.Context, s server) (string, error) {
	now := time.Now()
	if w.config.User == "" || w.accepted != "" && now.Before(w.renewAt) {
		return w.accepted, nil
	}
	token, life, err := w.login(ctx, s)
	if err != nil {
		if w.accepted != "" && now.Before(w.expireAt) {
			w.renewAt = now.Add(healthEvery)
			return w.accepted, nil
		}
		return "", fmt.Errorf("login: %w", err)
	}
	w.accepted, w.renewAt, w.expireAt = token, now.Add(life*4/5), now.Add(life)
	return token, nil
}

// forget makes token log in again.
func (w *web) forget() { w.accepted, w.renewAt, w.expireAt = "", time.Time{}, time.Time{} }

var errLogin = errors.New("user or password not accepted")

// login tries the paths of 2.x and 3.x.
func (w *web) login(ctx context.Context, s server) (token string, life time.Duration, err error) {
	form := url.Values{"username": {w.config.User}, "password": {w.config.Password}}
	for _, path := range []string{"/v1/auth/login", "/v3/auth/user/login"} {
		res, data, err := w.do(ctx, http.MethodPost, s.http+path, form)
		switch {
		case err != nil && strings.Contains(err.Error(), "malformed HTTP status code"):
			// 2.3 answers a wrong password with the status line "HTTP/1.1 0".
			return "", 0, errLogin
		case err != nil:
			return "", 0, err
		case res.StatusCode == http.StatusNotFound, res.StatusCode == http.StatusGone:
			continue
		case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
			return "", 0, errLogin
		case res.StatusCode == http.StatusInternalServerError:
			// 3.1 has this for a wrong user or password, 2.3 for a wrong user.
			return "", 0, fmt.Errorf("%w, or an error of the server (status 500)", errLogin)
		case res.StatusCode != http.StatusOK:
			return "", 0, client.Refused(res, "")
		}
		var out struct {
			Token string `json:"accessToken"`
			TTL   int64  `json:"tokenTtl"` // seconds
		}
		if err := json.Unmarshal(data, &out); err != nil || out.Token == "" {
			return "", 0, errors.New("the answer has no token")
		}
		return out.Token, time.Duration(min(max(out.TTL, 10), 365*24*3600)) * time.Second, nil
	}
	return "", 0, errors.New("the server knows no login: is the path of the URL right?")
}

// list returns the instances of a service, by the first interface that the server has.
// That of 3.x shows only the clusters that are named, and without any only DEFAULT: where
// all are wanted, its answer would not be the whole set, and is not asked for.
func (w *web) list(ctx context.Context, s server, of subject, clusters []string) ([]hostJSON, error) {
	if _, err := w.token(ctx, s); err != nil { // do sends it
		return nil, err
	}
	query := url.Values{
		"namespaceId": {w.config.Namespace}, "groupName": {of.group}, "serviceName": {of.service},
		"healthyOnly": {"false"},
	}
	w.config.sign(query, of)
	const v1, v3 = "/v1/ns/instance/list", "/v3/client/ns/instance/list"
	for _, path := range []string{v1, v3} {
		if path == v3 {
			if clusters == nil {
				return nil, errors.New("the HTTP interface of this version does not list all clusters of a service: name them, or open the gRPC port")
			}
			query.Set("clusterName", strings.Join(clusters, ","))
		}
		res, data, err := w.do(ctx, http.MethodGet, s.http+path+"?"+query.Encode(), nil)
		switch {
		case err != nil:
			return nil, err
		case res.StatusCode == http.StatusNotFound, res.StatusCode == http.StatusGone:
			continue
		case res.StatusCode == http.StatusForbidden:
			w.forget()
			return nil, client.Refused(res, "the server asks for a login, or the user may not do this")
		case res.StatusCode != http.StatusOK:
			return nil, client.Refused(res, "")
		}
		var out struct {
			Hosts []json.RawMessage `json:"hosts"` // v1
			Data  []json.RawMessage `json:"data"`  // v3
		}
		if err := json.Unmarshal(data, &out); err != nil {
			return nil, fmt.Errorf("the answer is not Nacos's JSON: %w", err)
		}
		if out.Hosts == nil {
			out.Hosts = out.Data
		}
		return serviceJSON{Hosts: out.Hosts}.instances()
	}
	return nil, errors.New("the server has no list of instances: is the path of the URL right?")
}
