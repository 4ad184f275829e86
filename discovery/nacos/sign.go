package nacos

// Servers with access keys, as Alibaba Cloud MSE has them, want requests about a service
// signed, by headers of the message (parameters over HTTP), as Nacos's own clients do it:
//
//	ak         the access key
//	data       1795398355275@@DEFAULT_GROUP@@users      (milliseconds since 1970)
//	signature  base64(HMAC-SHA1(secret key, data))
//
// Requests about no service are not signed, since servers do not ask for it.

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/url"
	"time"
)

// signature has what a request about a service must show; nil without an access key.
func (c Config) signature(of subject) map[string]string {
	if c.AccessKey == "" || of.service == "" {
		return nil
	}
	data := fmt.Sprintf("%d@@%s@@%s", time.Now().UnixMilli(), of.group, of.service)
	mac := hmac.New(sha1.New, []byte(c.SecretKey))
	mac.Write([]byte(data))
	return map[string]string{"ak": c.AccessKey, "data": data, "signature": base64.StdEncoding.EncodeToString(mac.Sum(nil))}
}

// sign adds the signature to the parameters of a request over HTTP.
func (c Config) sign(query url.Values, of subject) {
	for name, value := range c.signature(of) {
		query.Set(name, value)
	}
}
