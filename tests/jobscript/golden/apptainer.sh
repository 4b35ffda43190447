
pod 5f2c /pods/5f2c apptainer /usr/bin/apptainer OnFailure 5 600
runtime_options --ipc
process_path '/opt/a b'

volumes() {
  volume_scratch e || return
  volume_files c || return
  volume_file c a/b 0400 '\0000\0377
' || return
  volume_files s || return
  volume_file s key 0644 secret || return
  return 0
}

container_0() {
  with_image /images/a.sif
  with_gpu nvidia
  with_workdir /data
  with_env A 'x y'
  with_env EMPTY ''
  with_argv sh -c 'echo "it'"'"'s $HOME"
'
}
init_container prep container_0

container_1() {
  with_image docker://debian:12
  with_bind /pods/5f2c/volumes/e/a:b,c /e rw volume /pods/5f2c/volumes/e
  with_bind /data/x /x ro Directory /data
  with_args --all
}
container main container_1

run_pod "$@"
