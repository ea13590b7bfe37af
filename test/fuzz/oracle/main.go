// The judge of the fuzz tests: Go's own protobuf and JSON parsers, as etcd 3.7.1 links them.
//
// Reads requests from stdin and writes one answer each to stdout, lengths little-endian:
//
//	request:  u32 length of the rest, u8 operation, u8 length of the name, name, data
//	answer:   u32 length of the rest, u8 1 (accepted) or 0 (refused), data or error text
//
// Operations: 'p' parses data as the named message and gives it back as Go writes it, without unknown fields;
// 'j' reads JSON as etcd's gateway reads a body, and gives the message; 'e' writes a message as the gateway does.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"

	_ "go.etcd.io/etcd/api/v3/etcdserverpb"
	_ "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

func main() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		request := make([]byte, binary.LittleEndian.Uint32(head[:]))
		if _, err := io.ReadFull(in, request); err != nil {
			panic(err)
		}
		nameEnd := 2 + int(request[1])
		answer, err := judge(request[0], string(request[2:nameEnd]), request[nameEnd:])
		verdict := byte(1)
		if err != nil {
			verdict, answer = 0, []byte(err.Error())
		}
		binary.LittleEndian.PutUint32(head[:], uint32(len(answer)+1))
		out.Write(head[:])
		out.WriteByte(verdict)
		out.Write(answer)
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
}

func judge(operation byte, name string, data []byte) ([]byte, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		panic(err)
	}
	message := kind.New().Interface()
	switch operation {
	case 'p':
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, message); err != nil {
			return nil, err
		}
		return proto.MarshalOptions{Deterministic: true}.Marshal(message)
	case 'j':
		var value json.RawMessage
		if err := json.NewDecoder(bytes.NewReader(data)).Decode(&value); err != nil {
			if errors.Is(err, io.EOF) {
				return nil, nil
			}
			return nil, err
		}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(value, message); err != nil {
			return nil, err
		}
		return proto.MarshalOptions{Deterministic: true}.Marshal(message)
	case 'e':
		if err := proto.Unmarshal(data, message); err != nil {
			return nil, err
		}
		return protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	}
	panic("unknown operation")
}
