
pod 5f2c /pods/5f2c host '' 30 0

volumes() {
  return 0
}

container_0() {
  with_image ''
  with_env A 'x y'
  with_env EMPTY ''
  with_argv sh -c 'echo "it'"'"'s $HOME"
'
}
container main container_0

run_pod "$@"
