package testport

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const childVariable = "EDGE_TEST_PORT_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		port, err := strconv.Atoi(text)
		if err == nil {
			err = reserve(port)
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestPortsDifferAndServersCanListen(t *testing.T) {
	seen := make(map[string]bool)
	for range 200 {
		address := Address(t)
		if seen[address] {
			t.Fatalf("%s is returned twice", address)
		}
		seen[address] = true
	}
	for address := range seen {
		port := address[strings.LastIndex(address, ":"):]
		for range 2 { // again after a server has ended
			for _, listenOn := range []string{address, port} {
				ln, err := net.Listen("tcp", listenOn)
				if err != nil {
					t.Fatal(err)
				}
				packets, err := net.ListenPacket("udp", listenOn)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				packets.Close()
				ln.Close()
			}
		}
		if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("nobody listens on %s, and the error is %v", address, err)
		}
	}
}

func TestNobodyElseGetsThePort(t *testing.T) {
	number := Port(t)
	port, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	if err := reserve(port); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("the port is reserved twice: %v", err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childVariable+"="+number)
	var exited *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exited) || exited.ExitCode() != 3 {
		t.Errorf("another process reserves the port: %v", err)
	}
}
