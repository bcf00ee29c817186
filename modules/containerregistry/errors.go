package containerregistry

import (
	"encoding/json"
	"net/http"
)

// refuseUnauthorized has the client ask for a password, or end with the message.
func refuseUnauthorized(w http.ResponseWriter) error {
	w.Header().Set("WWW-Authenticate", `Basic realm="container registry", charset="UTF-8"`)
	return writeError(w, http.StatusUnauthorized, "UNAUTHORIZED", "log in with the name and the password of an account")
}

// writeError sends an error in the form of the OCI Distribution Specification 1.1, "Error Codes", whose message `docker` prints.
func writeError(w http.ResponseWriter, status int, code, message string) error {
	type ociError struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(map[string][]ociError{"errors": {{code, message}}})
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Docker-Distribution-Api-Version", "registry/2.0") // older clients look for it
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err = w.Write(body)
	return err
}
