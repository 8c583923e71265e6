# Which GPUs the CUDA back end is built for.
#
#     nnmf_cuda_architectures(RESULT GPUS KNOWN)
#
# GPUS: the compute capabilities of this machine's GPUs, as nvidia-smi lists them ("8.9", a line
# each), whichever of them CUDA numbers 0. KNOWN: what nvcc compiles for, as --list-gpu-arch says.
# RESULT: for CMAKE_CUDA_ARCHITECTURES.
#
# The machine's GPUs get code of their own. Without any it is the usual ones. PTX, which the driver
# compiles for what has no code, is made for two: 12.0 for GPUs to come, and 9.0 for 10.x and 11.x,
# which are older than 12.0 by their number. A GPU that nvcc does not know yet gets the PTX.
function(nnmf_cuda_architectures result gpus known)
  set(least 80) # tensor cores with TF32
  string(REGEX MATCHALL "compute_[0-9]+" known "${known}")
  list(TRANSFORM known REPLACE "compute_" "")
  string(REGEX MATCHALL "[0-9]+\\.[0-9]+" wanted "${gpus}")
  list(TRANSFORM wanted REPLACE "\\." "")
  list(REMOVE_DUPLICATES wanted)
  set(chosen "")
  set(all_have_code ON)
  foreach(gpu IN LISTS wanted)
    if(gpu LESS least)
      continue()
    elseif(gpu IN_LIST known)
      list(APPEND chosen ${gpu}-real)
    else()
      set(all_have_code OFF)
    endif()
  endforeach()
  if(NOT chosen OR NOT all_have_code)
    foreach(usual IN ITEMS 80 86 89 90 120)
      if(NOT chosen AND usual IN_LIST known)
        list(APPEND usual_ones ${usual}-real)
      endif()
    endforeach()
    list(APPEND chosen ${usual_ones})
    foreach(virtual IN ITEMS 90 120)
      if(virtual IN_LIST known)
        list(APPEND chosen ${virtual}-virtual)
      endif()
    endforeach()
  endif()
  set(${result} "${chosen}" PARENT_SCOPE)
endfunction()
