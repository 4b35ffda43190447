
pod 5f2c /pods/5f2c apptainer /usr/bin/apptainer 5 600
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
  with_gpu nvidia 0 0
  with_restart OnFailure
  with_workdir /data
  with_env A 'x y'
  with_env EMPTY ''
  with_argv sh -c 'echo "it'"'"'s $HOME"
'
}
init_container prep container_0

container_1() {
  with_image /images/s.sif
  with_restart Always
  with_env A 'x y'
  with_env EMPTY ''
  with_argv sh -c 'echo "it'"'"'s $HOME"
'
}
sidecar proxy container_1

container_2() {
  with_image docker://debian:12
  with_restart_rule in 3 42
  with_restart_rule not-in 1
  with_bind /pods/5f2c/volumes/e/a:b,c /e rw volume /pods/5f2c/volumes/e
  with_bind /data/x /x ro Directory /data
  with_args --all
}
container main container_2

run_pod "$@"
