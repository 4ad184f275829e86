package rig

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
)

// Pair writes a certificate and its key into a folder of the test's own, as PEM, and returns
// their files.
func Pair(t testing.TB, der []byte, private crypto.PrivateKey) (cert, key string) {
	t.Helper()
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = filepath.Join(t.TempDir(), "cert.pem")
	key = cert + ".key" // where HAProxy looks for it
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
